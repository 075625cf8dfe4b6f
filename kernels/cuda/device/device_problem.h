// What the CUDA kernels work on: plain views of device memory. Host code includes this without CUDA's headers.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/block_mask.h"
#include "core/problem.h"

struct CUstream_st;  // what CUDA calls cudaStream_t is a pointer to it

namespace salebench::cuda {

using Stream = CUstream_st*;

/// Storage of Q, K, V and of the output.
enum class Dtype { fp16, bf16 };

/// A problem in device memory. Layouts as in HostProblem: q [q_heads, q_len, head_dim], k and v
/// [kv_heads, kv_len, head_dim], each 16-byte aligned. A MaskView beside it has its bits in device memory.
struct DeviceProblem {
  Shape shape;
  bool causal = true;
  float scale = 1.0f;
  Dtype dtype = Dtype::bf16;
  const void* q = nullptr;
  const void* k = nullptr;
  const void* v = nullptr;
  int sliding_window = 0;  ///< as in HostProblem
};

/// Where attention writes in device memory: output [q_heads, q_len, head_dim] in the problem's type (float32 from
/// exact_attention), lse [q_heads, q_len], natural; either may be null. A row that sees no key gets output 0 and
/// log-sum-exp -inf.
struct DeviceAttention {
  void* output = nullptr;
  float* lse = nullptr;
};

/// Why no kernel here takes the problem; null if they do. They need head_dim 64 or 128 and a positive scale.
const char* why_unsupported(const Shape& shape, float scale);

/// Why no kernel here takes a mask with this tile; null if they do. They take 64 or 128 rows x 32, 64 or 128 keys.
const char* why_unsupported(const BlockSize& block);

}  // namespace salebench::cuda
