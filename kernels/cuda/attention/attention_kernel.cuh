// The attention kernel; attention.h says what it computes. One CTA takes 64 or 128 query rows, a warp 32 of them. K and
// V have one buffer each: V of a step arrives during Q.K, and K of the next one during P.V.
#pragma once

#include "kernels/cuda/attention/block_index.cuh"
#include "kernels/cuda/attention/tile.cuh"

namespace salebench::cuda {

struct AttentionArgs {
  const void *q, *k, *v;
  void* output;
  float* lse;
  DeviceGrid grid;  ///< block_q is the rows of a CTA
  int group;
  float scale2;  ///< scale * log2(e)
  ListLayout layout;
  const std::uint16_t* chunks = nullptr;  ///< lists as in BlockIndex; null for dense
  const std::int32_t *counts = nullptr, *order = nullptr;
  std::int64_t head_stride = 0;
};

/// The rows of one CTA and the key chunks they walk along.
struct WorkItem {
  int head, q_block, steps;
  int first_step = 0;          ///< of dense attention, under a sliding window
  const std::uint32_t* pairs;  ///< two chunk numbers a step; null for dense

  __device__ explicit WorkItem(const AttentionArgs& a) {
    if (a.chunks) {
      const int item = a.order[blockIdx.x];
      head = item / a.grid.q_blocks, q_block = item % a.grid.q_blocks;
      steps = (a.counts[item] + 1) / 2;
      pairs = reinterpret_cast<const std::uint32_t*>(a.chunks + head * a.head_stride + a.layout.begin(q_block));
    } else {  // as in BlockIndex::order
      const int of_kv_head = blockIdx.x % (a.group * a.grid.q_blocks);
      head = blockIdx.x / (a.group * a.grid.q_blocks) * a.group + of_kv_head % a.group;
      q_block = a.grid.q_blocks - 1 - of_kv_head / a.group;
      first_step = a.grid.key_begin(a.grid.q_begin(q_block)) / kStepKeys;
      steps = (a.grid.key_end(a.grid.q_end(q_block) - 1) + kStepKeys - 1) / kStepKeys - first_step;
      pairs = nullptr;
    }
  }
  /// Both chunks of a step, the first in the lower half.
  __device__ std::uint32_t pair(int step) const {
    const int own = first_step + step;
    return pairs ? pairs[step] : std::uint32_t(2 * own) | std::uint32_t(2 * own + 1) << 16;
  }
};

/// o += p . v for 64 keys; p are weights in the layout of Scores. kSplit adds what rounding p to T loses as a second
/// product.
template <class T, int kDim, bool kSplit>
__device__ inline void multiply_pv(float (&o)[kMTiles][kDim / 8][4], const Scores& p, std::uint32_t v) {
  const int lane = lane_id();
#pragma unroll
  for (int j = 0; j < kStepKeys / 16; ++j)
#pragma unroll 1  // both at once spill
    for (int part = 0; part < (kSplit ? 2 : 1); ++part) {
      std::uint32_t a[kMTiles][4];
#pragma unroll
      for (int m = 0; m < kMTiles; ++m)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float low = p[m][2 * j + i / 2][i % 2 * 2], high = p[m][2 * j + i / 2][i % 2 * 2 + 1];
          a[m][i] = pack<T>(low, high);
          if (part == 1) {
            const float2 rounded = unpack<T>(a[m][i]);
            a[m][i] = pack<T>(low - rounded.x, high - rounded.y);
          }
        }
#pragma unroll
      for (int n = 0; n < kDim / 8; n += 2) {
        std::uint32_t b[4];  // both halves of 16 keys for channels 8 n and 8 (n + 1)
        load_matrices_transposed(b, v + swizzle<2 * kDim>(16 * j + lane % 16, n + lane / 16));
#pragma unroll
        for (int m = 0; m < kMTiles; ++m) {
          multiply_add<T>(o[m][n], a[m], b[0], b[1]);
          multiply_add<T>(o[m][n + 1], a[m], b[2], b[3]);
        }
      }
    }
}

/// Divides by the row sums and writes the warp's rows, of which the first is `row`.
template <class T, int kDim, bool kExact>
__device__ inline void write_rows(const AttentionArgs& a, int head, int row, float (&o)[kMTiles][kDim / 8][4],
                                  SoftmaxState& state) {
#pragma unroll
  for (int m = 0; m < kMTiles; ++m)
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int r = row + row_of(m, h);
      state.sum[m][h] = row_sum(state.sum[m][h]);
      if (r >= a.grid.q_len) continue;
      const std::size_t at = std::size_t(head) * a.grid.q_len + r;
      if (lane_id() % 4 == 0 && a.lse) a.lse[at] = state.lse(m, h);
      if (!a.output) continue;
      const float inverse = state.sum[m][h] > 0 ? 1.0f / state.sum[m][h] : 0.0f;
#pragma unroll
      for (int n = 0; n < kDim / 8; ++n) {
        const float low = o[m][n][2 * h] * inverse, high = o[m][n][2 * h + 1] * inverse;
        const std::size_t to = at * kDim + 8 * n + lane_id() % 4 * 2;
        if constexpr (kExact)
          *reinterpret_cast<float2*>(static_cast<float*>(a.output) + to) = make_float2(low, high);
        else
          *reinterpret_cast<std::uint32_t*>(static_cast<T*>(a.output) + to) = pack<T>(low, high);
      }
    }
}

/// Shared memory of a CTA: its queries, 64 keys and 64 values.
template <int kDim, int kRows>
constexpr int attention_shared_bytes() {
  return (kRows + 2 * kStepKeys) * kDim * 2;
}

template <class T, int kDim, int kRows, bool kExact>
__global__ void __launch_bounds__(kRows, 256 / kRows) attention_kernel(const __grid_constant__ AttentionArgs a) {
  extern __shared__ __align__(1024) char memory[];
  const std::uint32_t q = shared_address(memory), k = q + kRows * kDim * 2, v = k + kStepKeys * kDim * 2;
  const WorkItem item(a);
  const int kv_len = a.grid.kv_len, cta_row = item.q_block * kRows, warp_row = threadIdx.x / 32 * kWarpRows;
  const std::size_t kv_head = std::size_t(item.head / a.group) * kv_len * kDim;  // where its keys and values start

  load_rows<T, kDim, kRows, kRows>(q, static_cast<const T*>(a.q) + std::size_t(item.head) * a.grid.q_len * kDim,
                                   cta_row, a.grid.q_len);
  std::uint32_t pair = item.steps > 0 ? item.pair(0) : 0;
  if (item.steps > 0)
    load_keys<T, kDim, kRows>(k, static_cast<const T*>(a.k) + kv_head, pair & 0xffff, pair >> 16, kv_len);
  commit_copies();

  float o[kMTiles][kDim / 8][4] = {};
  SoftmaxState state;
  for (int step = 0; step < item.steps; ++step) {
    const int chunk0 = pair & 0xffff, chunk1 = pair >> 16;
    wait_copies<0>();
    __syncthreads();  // K is here, and all warps are done with the last V
    load_keys<T, kDim, kRows>(v, static_cast<const T*>(a.v) + kv_head, chunk0, chunk1, kv_len);
    commit_copies();
    if (step + 1 < item.steps) pair = item.pair(step + 1);

    Scores s;
    multiply_qk<T, kDim>(s, q, warp_row, k);
    hide_scores(s, a.grid, cta_row + warp_row, chunk0, chunk1);
    float rescale[kMTiles][2];
    if (state.add(s, a.scale2, rescale)) {
#pragma unroll
      for (int m = 0; m < kMTiles; ++m)
#pragma unroll
        for (int n = 0; n < kDim / 8; ++n)
#pragma unroll
          for (int i = 0; i < 4; ++i) o[m][n][i] *= rescale[m][i / 2];
    }

    wait_copies<0>();
    __syncthreads();  // V is here, and all warps are done with K
    if (step + 1 < item.steps)
      load_keys<T, kDim, kRows>(k, static_cast<const T*>(a.k) + kv_head, pair & 0xffff, pair >> 16, kv_len);
    commit_copies();
    multiply_pv<T, kDim, kExact>(o, s, v);
  }
  write_rows<T, kDim, kExact>(a, item.head, cta_row + warp_row, o, state);
}

/// Launches one instantiation; defined for the type in attention_fp16.cu or attention_bf16.cu.
template <class T>
void launch_attention(const AttentionArgs& args, int head_dim, bool exact, int items, Stream stream);

}  // namespace salebench::cuda
