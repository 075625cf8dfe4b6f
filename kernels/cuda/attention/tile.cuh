// Tiles of Q, K and V in shared memory, and scores of rows against keys on tensor cores. A warp owns 32 query rows; a
// step takes 64 keys, made of two chunks of 32 that need not be neighbours.
#pragma once

#include "kernels/cuda/attention/grid.cuh"
#include "kernels/cuda/attention/mma.cuh"

namespace salebench::cuda {

constexpr int kChunkKeys = 32;                   ///< keys in a chunk, the unit of key lists
constexpr int kStepKeys = 64;                    ///< keys in a step
constexpr int kWarpRows = 32;                    ///< query rows a warp owns
constexpr int kMTiles = kWarpRows / 16;          ///< MMA tiles of 16 rows a warp
constexpr int kNTiles = kStepKeys / 8;           ///< MMA tiles of 8 keys a step
constexpr std::uint16_t kNoChunk = 0xffff;       ///< a list's padding; its keys lie beyond any kv_len
constexpr int kMaxKeys = kNoChunk * kChunkKeys;  ///< longest kv_len that chunk numbers of 16 bits can name

/// Scores of a warp: element [m][n][2 h + c] is row 16 m + 8 h + lane / 4, key 8 n + 2 (lane mod 4) + c of the step.
using Scores = float[kMTiles][kNTiles][4];

__device__ inline int lane_id() {
  return threadIdx.x % 32;
}
/// Row within the warp's 32 of score element [m][n][2 h + c].
__device__ inline int row_of(int m, int h) {
  return 16 * m + 8 * h + lane_id() / 4;
}
/// Key of score element [m][n][2 h + c], given the step's two chunks.
__device__ inline int key_of(int n, int c, int chunk0, int chunk1) {
  return (n < kNTiles / 2 ? chunk0 : chunk1) * kChunkKeys + n % (kNTiles / 2) * 8 + lane_id() % 4 * 2 + c;
}

/// Starts to copy kRows consecutive rows of a head [rows, kDim] from `row` on; rows at or past `rows` become zero.
template <class T, int kDim, int kRows, int kThreads>
__device__ inline void load_rows(std::uint32_t to, const T* head, int row, int rows) {
  constexpr int kChunks = kDim / 8, kPass = kThreads / kChunks;
  const int chunk = threadIdx.x % kChunks;
#pragma unroll
  for (int r = threadIdx.x / kChunks; r < kRows; r += kPass) {
    const bool valid = row + r < rows;
    copy_async_or_zero(to + swizzle<2 * kDim>(r, chunk), head + (valid ? std::size_t(row + r) * kDim : 0) + chunk * 8,
                       valid);
  }
}

/// Starts to copy the keys of two chunks of a head [kv_len, kDim]; keys past the end become zero.
template <class T, int kDim, int kThreads>
__device__ inline void load_keys(std::uint32_t to, const T* head, int chunk0, int chunk1, int kv_len) {
  constexpr int kChunks = kDim / 8, kPass = kThreads / kChunks;
  static_assert((kPass & (kPass - 1)) == 0);
  const int first = threadIdx.x / kChunks, part = threadIdx.x % kChunks;
  // swizzle() of row first + r from that of row `first`, so that one register has them all: rows a pass apart have no
  // bit in common with `first`.
  const std::uint32_t place = to + swizzle<2 * kDim>(first, part);
  const auto place_of = [&](int r) { return (place ^ (r & 7) * 16) + r * 2 * kDim; };
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int begin = (half ? chunk1 : chunk0) * kChunkKeys, row = half * kChunkKeys;
    const T* const from = head + std::size_t(begin + first) * kDim + 8 * part;
    if (begin + kChunkKeys <= kv_len) {
#pragma unroll
      for (int r = 0; r < kChunkKeys; r += kPass) copy_async(place_of(row + r), from + r * kDim);
    } else {
#pragma unroll 1
      for (int r = 0; r < kChunkKeys; r += kPass) {
        const bool valid = begin + first + r < kv_len;
        copy_async_or_zero(place_of(row + r), valid ? from + r * kDim : head, valid);
      }
    }
  }
}

/// s = q . k for the warp's rows, which start at q_row of the tile at q, and the 64 keys of the tile at k.
template <class T, int kDim>
__device__ inline void multiply_qk(Scores& s, std::uint32_t q, int q_row, std::uint32_t k) {
  const int lane = lane_id();
#pragma unroll
  for (int m = 0; m < kMTiles; ++m)
#pragma unroll
    for (int n = 0; n < kNTiles; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) s[m][n][i] = 0;
#pragma unroll
  for (int d = 0; d < kDim / 16; ++d) {
    std::uint32_t a[kMTiles][4];
#pragma unroll
    for (int m = 0; m < kMTiles; ++m)
      load_matrices(a[m], q + swizzle<2 * kDim>(q_row + 16 * m + lane % 16, 2 * d + lane / 16));
#pragma unroll
    for (int n = 0; n < kNTiles; n += 2) {
      std::uint32_t b[4];  // both halves of the channels for keys 8 n and 8 (n + 1)
      load_matrices(b, k + swizzle<2 * kDim>(8 * n + lane % 8 + lane / 16 * 8, 2 * d + lane / 8 % 2));
#pragma unroll
      for (int m = 0; m < kMTiles; ++m) {
        multiply_add<T>(s[m][n], a[m], b[0], b[1]);
        multiply_add<T>(s[m][n + 1], a[m], b[2], b[3]);
      }
    }
  }
}

/// Sets the scores of keys that a row does not see to -inf. `row` is the warp's first query row.
__device__ inline void hide_scores(Scores& s, const DeviceGrid& grid, int row, int chunk0, int chunk1) {
  if (grid.all_visible(row, kWarpRows, chunk0 * kChunkKeys, kChunkKeys) &&
      grid.all_visible(row, kWarpRows, chunk1 * kChunkKeys, kChunkKeys))
    return;
#pragma unroll
  for (int m = 0; m < kMTiles; ++m)
#pragma unroll
    for (int h = 0; h < 2; ++h)
#pragma unroll
      for (int part = 0; part < 2; ++part) {
        const int chunk = part ? chunk1 : chunk0;
        const std::uint32_t seen = grid.visible_keys(row + row_of(m, h), chunk * kChunkKeys) >> (lane_id() % 4 * 2);
#pragma unroll
        for (int i = 0; i < kNTiles; ++i) {  // key 8 (i / 2) + i mod 2 of those that the lane's first one begins
          float& score = s[m][part * kNTiles / 2 + i / 2][2 * h + i % 2];
          score = seen >> (8 * (i / 2) + i % 2) & 1 ? score : -INFINITY;
        }
      }
}

/// Largest, or sum, of a value over the four lanes that share a row.
__device__ inline float row_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
  return fmaxf(x, __shfl_xor_sync(~0u, x, 2));
}
__device__ inline float row_sum(float x) {
  x += __shfl_xor_sync(~0u, x, 1);
  return x + __shfl_xor_sync(~0u, x, 2);
}

/// Online softmax of a warp's rows in base 2: a row's largest scaled score and this lane's share of its sum.
struct SoftmaxState {
  float largest[kMTiles][2], sum[kMTiles][2];

  __device__ SoftmaxState() {
#pragma unroll
    for (int m = 0; m < kMTiles; ++m)
#pragma unroll
      for (int h = 0; h < 2; ++h) largest[m][h] = -INFINITY, sum[m][h] = 0;
  }

  /// Turns scores into weights 2^(scale2 s - largest) and adds them; `rescale` is what earlier weights shrink by.
  /// Returns false, the same in all lanes, if no row's largest score rose and so every rescale is 1.
  __device__ bool add(Scores& s, float scale2, float (&rescale)[kMTiles][2]) {
    bool rose = false;
#pragma unroll
    for (int m = 0; m < kMTiles; ++m)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        float most = fmaxf(s[m][0][2 * h], s[m][0][2 * h + 1]);
#pragma unroll
        for (int n = 1; n < kNTiles; ++n) most = fmaxf(most, fmaxf(s[m][n][2 * h], s[m][n][2 * h + 1]));
        const float next = fmaxf(largest[m][h], row_max(most) * scale2);
        const float base = next == -INFINITY ? 0.0f : next;  // no key seen yet: every weight is 2^-inf
        rose |= next > largest[m][h];
        rescale[m][h] = exp2_fast(largest[m][h] - base);
        largest[m][h] = next;
        float added = 0;
#pragma unroll
        for (int n = 0; n < kNTiles; ++n)
#pragma unroll
          for (int c = 0; c < 2; ++c) added += s[m][n][2 * h + c] = exp2_fast(s[m][n][2 * h + c] * scale2 - base);
        sum[m][h] = sum[m][h] * rescale[m][h] + added;
      }
    return __any_sync(~0u, rose);
  }

  /// Natural log-sum-exp of a row, once sum holds the whole row's; -inf if it saw no key.
  __device__ float lse(int m, int h) const {
    return sum[m][h] > 0 ? (largest[m][h] + log2f(sum[m][h])) * 0.69314718056f : -INFINITY;
  }
};

}  // namespace salebench::cuda
