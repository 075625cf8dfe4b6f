// Scores of tiles from pooled queries and keys, in float32: means of blocks of rows, then a small matrix product.
#include "kernels/cuda/attention/grid.cuh"
#include "kernels/cuda/attention/mma.cuh"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/select/mask_builders.h"

namespace salebench::cuda {
namespace {

constexpr int kTile = 64;      // scores a CTA computes, each way
constexpr int kPerThread = 4;  // each way
constexpr int kThreads = kTile * kTile / (kPerThread * kPerThread);
constexpr int kDepth = 16;  // channels a step

/// means [heads, blocks, kDim] of blocks of rows of x [heads, rows, kDim]; one thread two channels.
template <class T, int kDim>
__global__ void pool_kernel(const T* x, int rows, int block, float* means) {
  const int begin = blockIdx.x * block, end = min(rows, begin + block);
  const T* const head = x + std::size_t(blockIdx.y) * rows * kDim;
  float2 sum = {0, 0};
#pragma unroll 8
  for (int row = begin; row < end; ++row) {
    const float2 two =
        unpack<T>(*reinterpret_cast<const std::uint32_t*>(head + std::size_t(row) * kDim + 2 * threadIdx.x));
    sum.x += two.x, sum.y += two.y;
  }
  const float count = float(end - begin);
  *reinterpret_cast<float2*>(means + (std::size_t(blockIdx.y) * gridDim.x + blockIdx.x) * kDim + 2 * threadIdx.x) =
      make_float2(sum.x / count, sum.y / count);
}

/// scores of 64 query blocks x 64 key blocks of a head; tiles that no row sees are skipped.
template <int kDim>
__global__ void __launch_bounds__(kThreads)
    score_kernel(const float* queries, const float* keys, DeviceGrid grid, int group, float* scores) {
  __shared__ float q[kDepth][kTile + 4], k[kDepth][kTile + 4];
  const int q0 = blockIdx.y * kTile, k0 = blockIdx.x * kTile, head = blockIdx.z;
  if (k0 >= grid.causal_end(min(grid.q_blocks, q0 + kTile) - 1)) return;
  const float* const head_q = queries + std::size_t(head) * grid.q_blocks * kDim;
  const float* const head_k = keys + std::size_t(head / group) * grid.k_blocks * kDim;
  const int tx = threadIdx.x % (kTile / kPerThread), ty = threadIdx.x / (kTile / kPerThread);
  const int row = threadIdx.x / (kDepth / 4), part = threadIdx.x % (kDepth / 4);  // what a thread loads: 4 channels
  float sum[kPerThread][kPerThread] = {};
  for (int d = 0; d < kDim; d += kDepth) {
    const float4 zero = {0, 0, 0, 0};
    const float4 x = q0 + row < grid.q_blocks
                         ? *reinterpret_cast<const float4*>(head_q + std::size_t(q0 + row) * kDim + d + 4 * part)
                         : zero;
    const float4 y = k0 + row < grid.k_blocks
                         ? *reinterpret_cast<const float4*>(head_k + std::size_t(k0 + row) * kDim + d + 4 * part)
                         : zero;
    __syncthreads();
    q[4 * part][row] = x.x, q[4 * part + 1][row] = x.y, q[4 * part + 2][row] = x.z, q[4 * part + 3][row] = x.w;
    k[4 * part][row] = y.x, k[4 * part + 1][row] = y.y, k[4 * part + 2][row] = y.z, k[4 * part + 3][row] = y.w;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kDepth; ++i) {
      const float4 a = *reinterpret_cast<const float4*>(&q[i][ty * kPerThread]);
      const float4 b = *reinterpret_cast<const float4*>(&k[i][tx * kPerThread]);
      const float left[4] = {a.x, a.y, a.z, a.w}, right[4] = {b.x, b.y, b.z, b.w};
#pragma unroll
      for (int r = 0; r < kPerThread; ++r)
#pragma unroll
        for (int c = 0; c < kPerThread; ++c) sum[r][c] += left[r] * right[c];
    }
  }
  for (int r = 0; r < kPerThread; ++r)
    for (int c = 0; c < kPerThread; ++c) {
      const int qb = q0 + ty * kPerThread + r, kb = k0 + tx * kPerThread + c;
      if (qb < grid.q_blocks && kb < grid.causal_end(qb))
        scores[(std::size_t(head) * grid.q_blocks + qb) * grid.k_blocks + kb] = sum[r][c];
    }
}

struct Means {
  float *queries, *keys;

  Means(const Shape& s, const BlockSize& block, WorkspaceCursor& w)
      : queries(w.take<float>(std::size_t(s.q_heads) * ceil_div(s.q_len, block.q) * s.head_dim)),
        keys(w.take<float>(std::size_t(s.kv_heads) * ceil_div(s.kv_len, block.k) * s.head_dim)) {}
};

}  // namespace

std::size_t pooled_scores_bytes(const Shape& shape, const BlockSize& block) {
  WorkspaceCursor workspace(nullptr);
  const Means means(shape, block, workspace);
  return workspace.used();
}

void pooled_scores(const DeviceProblem& p, const BlockGrid& grid, void* workspace, float* scores, Stream stream) {
  require(why_unsupported(p.shape, p.scale));
  const Shape& s = p.shape;
  WorkspaceCursor cursor(workspace);
  const Means means(s, grid.block, cursor);
  dispatch(p.dtype, s.head_dim, [&](auto type, auto dim) {
    using T = decltype(type);
    pool_kernel<T, dim><<<dim3(grid.q_blocks(), s.q_heads), dim / 2, 0, stream>>>(static_cast<const T*>(p.q), s.q_len,
                                                                                  grid.block.q, means.queries);
    SALEBENCH_CUDA_CHECK(cudaGetLastError());
    pool_kernel<T, dim><<<dim3(grid.k_blocks(), s.kv_heads), dim / 2, 0, stream>>>(static_cast<const T*>(p.k), s.kv_len,
                                                                                   grid.block.k, means.keys);
    SALEBENCH_CUDA_CHECK(cudaGetLastError());
    const dim3 tiles(ceil_div(grid.k_blocks(), kTile), ceil_div(grid.q_blocks(), kTile), s.q_heads);
    score_kernel<dim><<<tiles, kThreads, 0, stream>>>(means.queries, means.keys, DeviceGrid(grid), s.group(), scores);
  });
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
}

}  // namespace salebench::cuda
