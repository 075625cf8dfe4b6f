// True attention mass of tiles: exact scores again, weighted by the exact log-sum-exp. A CTA takes one query block.
#include "kernels/cuda/attention/tile.cuh"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/select/mask_builders.h"

namespace salebench::cuda {
namespace {

constexpr int kStages = 2;
constexpr float kLog2e = 1.4426950409f;

/// Sums the weights of the warp's rows over the keys of each of a step's two chunks; complete in every lane.
__device__ inline void sum_chunks(const Scores& s, float scale2, const float (&lse2)[kMTiles][2], float (&sum)[2]) {
  sum[0] = sum[1] = 0;
#pragma unroll
  for (int m = 0; m < kMTiles; ++m)
#pragma unroll
    for (int n = 0; n < kNTiles; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) sum[n / (kNTiles / 2)] += exp2_fast(s[m][n][i] * scale2 - lse2[m][i / 2]);
  for (int step = 16; step > 0; step /= 2)
    for (float& x : sum) x += __shfl_xor_sync(~0u, x, step);
}

template <class T, int kDim, int kRows>
__global__ void __launch_bounds__(kRows)
    mass_kernel(DeviceProblem p, const float* lse, DeviceGrid grid, int group, float* mass) {
  extern __shared__ __align__(1024) char memory[];
  __shared__ float partial[2][kRows / kWarpRows];  // of the step's chunks
  const int q_block = grid.q_blocks - 1 - blockIdx.x, head = blockIdx.y;
  const int first = q_block * kRows, warp = threadIdx.x / 32, row = first + warp * kWarpRows;
  const int key_end = grid.key_end(grid.q_end(q_block) - 1), steps = (key_end + kStepKeys - 1) / kStepKeys;
  const std::uint32_t q = shared_address(memory), k = q + kRows * kDim * 2;
  const T* const keys = static_cast<const T*>(p.k) + std::size_t(head / group) * grid.kv_len * kDim;
  const auto load = [&](int step) {
    if (step < steps)
      load_keys<T, kDim, kRows>(k + step % kStages * kStepKeys * kDim * 2, keys, 2 * step, 2 * step + 1, grid.kv_len);
    commit_copies();
  };
  load_rows<T, kDim, kRows, kRows>(q, static_cast<const T*>(p.q) + std::size_t(head) * grid.q_len * kDim, first,
                                   grid.q_len);
  load(0);
  float lse2[kMTiles][2];  // +inf gives rows past the end no weight
#pragma unroll
  for (int m = 0; m < kMTiles; ++m)
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int r = row + row_of(m, h);
      lse2[m][h] = r < grid.q_len ? lse[std::size_t(head) * grid.q_len + r] * kLog2e : INFINITY;
    }
  float* const out = mass + (std::size_t(head) * grid.q_blocks + q_block) * grid.k_blocks;
  const int chunks_a_block = grid.block_k / kChunkKeys;
  float block_sum = 0;  // of the key block under way, in thread 0
  for (int step = 0; step < steps; ++step) {
    load(step + 1);
    wait_copies<1>();
    __syncthreads();
    Scores s;
    multiply_qk<T, kDim>(s, q, warp * kWarpRows, k + step % kStages * kStepKeys * kDim * 2);
    hide_scores(s, grid, row, 2 * step, 2 * step + 1);
    float sum[2];
    sum_chunks(s, p.scale * kLog2e, lse2, sum);
    if (lane_id() < 2) partial[lane_id()][warp] = lane_id() == 0 ? sum[0] : sum[1];
    __syncthreads();
    if (threadIdx.x != 0) continue;
    for (int half = 0; half < 2; ++half) {
      for (int w = 0; w < kRows / kWarpRows; ++w) block_sum += partial[half][w];
      const int chunk = 2 * step + half;
      const bool last = (chunk + 1) % chunks_a_block == 0 || (chunk + 1) * kChunkKeys >= key_end;
      if (!last || chunk * kChunkKeys >= key_end) continue;
      out[chunk / chunks_a_block] = block_sum / float(grid.q_end(q_block) - grid.q_begin(q_block));
      block_sum = 0;
    }
  }
}

template <class T, int kDim, int kRows>
void launch(const DeviceProblem& p, const float* lse, const BlockGrid& grid, float* mass, Stream stream) {
  constexpr auto kernel = mass_kernel<T, kDim, kRows>;
  constexpr int bytes = (kRows + kStages * kStepKeys) * kDim * 2;
  SALEBENCH_CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
  kernel<<<dim3(grid.q_blocks(), p.shape.q_heads), kRows, bytes, stream>>>(p, lse, DeviceGrid(grid), p.shape.group(),
                                                                           mass);
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
}

}  // namespace

void block_mass(const DeviceProblem& p, const float* lse, const BlockGrid& grid, float* mass, Stream stream) {
  require(why_unsupported(p.shape, p.scale));
  require(why_unsupported(grid.block));
  require(grid.window ? "attention mass has no window" : nullptr);
  dispatch(p.dtype, p.shape.head_dim, [&](auto type, auto dim) {
    using T = decltype(type);
    if (grid.block.q == 64)
      launch<T, dim, 64>(p, lse, grid, mass, stream);
    else
      launch<T, dim, 128>(p, lse, grid, mass, stream);
  });
}

}  // namespace salebench::cuda
