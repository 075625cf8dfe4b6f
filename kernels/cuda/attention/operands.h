// 8-bit operands of attention on Hopper, as kernels/cpu/low_bit_attention.h defines them, in the order in which its
// kernel reads them.
#pragma once

#include "kernels/cuda/device/device_problem.h"

namespace salebench::cuda {

/// What the products of attention read: Q, K and V as they are; Q and K as int8; beside that weights and V as e4m3.
enum class Operands { bits16, int8, fp8 };

/// In device memory. A row's 16-byte units are swizzled as wgmma reads them; a chunk is 32 keys, of which the last
/// one's that don't exist are zeros.
struct LowBitProblem {
  Operands operands = Operands::bits16;
  int q_rows = 0, chunks = 0;        ///< q_len rounded up to a multiple of 128; of a KV head
  const char* q = nullptr;           ///< [q_heads, q_rows, head_dim], int8
  const float* q_scale = nullptr;    ///< [q_heads, q_rows]; 0 for a row of zeros
  const float* lse_shift = nullptr;  ///< [q_heads, q_rows]: what a row's logits lost by the mean of K
  const char* k = nullptr;           ///< [kv_heads, chunks, 32, head_dim], int8
  const float* k_scale = nullptr;    ///< [kv_heads, chunks]
  const char* v = nullptr;           ///< fp8: [kv_heads, chunks, 2, head_dim, 16], e4m3
  const float* v_scale = nullptr;    ///< fp8: [kv_heads, head_dim]
  const float* v_mean = nullptr;     ///< fp8: [kv_heads, head_dim]
};

std::size_t low_bit_bytes(const Shape& shape, Operands operands);

/// Rounds Q and K, and V for fp8, into the workspace of low_bit_bytes().
LowBitProblem round_operands(const DeviceProblem& problem, Operands operands, void* workspace, Stream stream);

}  // namespace salebench::cuda
