// What the kernels of pooled SALE share. The pooled rows of the heads that have one scan are stacked for each KV head,
// so that they share its keys: row block 0 of each head, row block 1 of each head, ... ; a group is the rows of one
// head and row block.
#pragma once

#include <cuda_fp8.h>

#include "kernels/cuda/select/sale.cuh"
#include "kernels/cuda/select/sale_pooled.h"

namespace salebench::cuda {

constexpr int kStackRows = 256;    ///< rows of a stack that one CTA scans
constexpr int kScannedKeys = 128;  ///< pooled keys of a tile

/// The heads that have a scan: `of_kv_head` [kv_heads, most] numbers of query heads, the first counts[kv_head] of a
/// row.
struct StackedHeads {
  int most = 0;
  const int *of_kv_head = nullptr, *counts = nullptr;
};

/// Row r of a stack has the score s * factor - offset (of log2) against a pooled key, where s is the product of codes.
/// A threshold is part of the offset, so that a score of 0 reaches it; a row past the end has offset +inf.
struct RowScore {
  float factor, offset;
};

/// One scan, of all heads that have it.
struct PooledWork {
  PooledScan scan;
  DeviceGrid grid;
  int local_blocks;
  StackedHeads heads;
  int group_rows = 0;        ///< rows of the stack that a head has in a row block
  int stack_rows = 0;        ///< of a KV head, rounded up to kStackRows
  int keys = 0;              ///< pooled keys of a KV head
  bool shares_keys = false;  ///< `k` is that of an earlier scan with such keys
  void* k = nullptr;         ///< codes [kv_heads, keys, head_dim] of pooled keys minus the mean
  void* q = nullptr;         ///< codes [kv_heads, stack_rows, head_dim]
  void* means = nullptr;     ///< the same rows in the problem's type
  RowScore* rows = nullptr;  ///< [kv_heads, stack_rows]
};

/// Where the pooled rows of a query head go.
struct HeadRows {
  int row_pool, row_stride, group_rows;
  int place, heads;  ///< the head's among so many of its KV head in the stack
  bool fp8;
  void *q, *means;  ///< codes and means of its KV head's stack
  RowScore* rows;   ///< likewise
};

/// Of all heads, whatever their scans.
struct PooledInputs {
  void* stats;                  ///< what channel_stats works in
  float *k_mean, *k_deviation;  ///< [kv_heads, head_dim], [kv_heads]
  HeadRows* head_rows;          ///< [q_heads]
  float* log2_thresholds;       ///< [q_heads]
};

/// The power of two in whose units `most` is a code in [8, 16): sums of 128 products of two such codes fit fp16.
__device__ inline float code_unit(float most) {
  return __int_as_float(max(1, (__float_as_int(most) >> 23) - 3) << 23);
}

/// Pooled keys of `work` as codes.
void pool_keys(const DeviceProblem& p, const PooledWork& work, const PooledInputs& in, Stream stream);
/// Pooled rows of all heads, at most `most_rows` of one, and their scores' factors and offsets but for the reference.
void pool_queries(const DeviceProblem& p, const BlockGrid& grid, const PooledInputs& in, int most_rows, Stream stream);
/// Adds the log-sum-exp of each row over the sink and local keys that its last query row sees to the row's offset.
void add_reference(const DeviceProblem& p, const PooledWork& work, Stream stream);
/// Adds the middle blocks that reach the threshold to the mask.
void scan_pooled(const DeviceProblem& p, const PooledWork& work, MaskView mask, Stream stream);

/// Calls body(std::bool_constant<fp8>(), std::integral_constant<int, head_dim>()).
template <class Body>
void dispatch_operands(const PooledScan& scan, int head_dim, const Body& body) {
  const auto with_dim = [&](auto fp8) {
    if (head_dim == 64)
      body(fp8, std::integral_constant<int, 64>());
    else
      body(fp8, std::integral_constant<int, 128>());
  };
  if (scan.operands == PooledScan::Operands::fp8)
    with_dim(std::true_type());
  else
    with_dim(std::false_type());
}

/// Eight channels of a row as codes, 8 bytes of e4m3 or 16 of fp16, to channel 8 part.
template <bool kFp8>
__device__ inline void store_codes(void* row, int part, const float (&x)[8], float inverse_unit) {
  std::uint32_t words[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float low = x[2 * i] * inverse_unit, high = x[2 * i + 1] * inverse_unit;
    words[i] = kFp8 ? __nv_cvt_float2_to_fp8x2({low, high}, __NV_SATFINITE, __NV_E4M3) : pack<__half>(low, high);
  }
  if constexpr (kFp8)
    static_cast<uint2*>(row)[part] = {words[0] | words[1] << 16, words[2] | words[3] << 16};
  else
    static_cast<uint4*>(row)[part] = {words[0], words[1], words[2], words[3]};
}

/// Adds eight channels.
template <class T>
__device__ inline void add_eight(float (&sum)[8], const uint4& eight) {
  const std::uint32_t pairs[4] = {eight.x, eight.y, eight.z, eight.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float2 two = unpack<T>(pairs[i]);
    sum[2 * i] += two.x, sum[2 * i + 1] += two.y;
  }
}

}  // namespace salebench::cuda
