#include "kernels/cuda/select/sale.cuh"

namespace salebench::cuda {
namespace {

/// q . mean for one row of the tile at q.
template <class T, int kDim>
__device__ float dot_row(const char* q, int row, const float* mean) {
  float dot = 0;
#pragma unroll 4
  for (int chunk = 0; chunk < kDim / 8; ++chunk) {
    const uint4 eight = *reinterpret_cast<const uint4*>(q + swizzle<2 * kDim>(row, chunk));
    const std::uint32_t pairs[4] = {eight.x, eight.y, eight.z, eight.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float2 two = unpack<T>(pairs[i]);
      dot += two.x * mean[8 * chunk + 2 * i] + two.y * mean[8 * chunk + 2 * i + 1];
    }
  }
  return dot;
}

/// T_i = (log-sum-exp over sink and local keys + ln threshold) / scale, of a query block. The mean of K shifts all
/// logits of a row alike, so it is taken out of the result instead of the keys; without k_mean, limits are for q . k.
template <class T, int kDim, int kRows>
__global__ void __launch_bounds__(kRows)
    reference_kernel(DeviceProblem p, DeviceGrid grid, int local_blocks, bool all_dense, const float* log_thresholds,
                     const float* k_mean, float* limit, std::uint32_t* bits) {
  extern __shared__ __align__(1024) char memory[];
  __shared__ float lse[kRows];
  const int q_block = grid.q_blocks - 1 - blockIdx.x, head = blockIdx.y,
            kv_head = head / (p.shape.q_heads / p.shape.kv_heads);
  const int first = q_block * kRows, end = grid.causal_end(q_block);
  const bool dense = all_dense || log_thresholds[head] == -INFINITY;
  const int early_end = middle_begin(grid, q_block);
  const int local_begin = dense ? early_end : middle_end(grid, q_block, local_blocks);
  write_row(bits + (std::size_t(head) * grid.q_blocks + q_block) * grid.words, grid.words, grid.visible_begin(q_block),
            early_end, local_begin, end);
  const int row = first + threadIdx.x;
  if (dense) {
    if (row < grid.q_len) limit[std::size_t(head) * grid.q_len + row] = INFINITY;
    return;
  }
  const ReferenceList list(grid, q_block, local_begin);
  const int steps = (list.count + 1) / 2, warp_row = threadIdx.x / 32 * kWarpRows;
  const std::uint32_t q = shared_address(memory), k = q + kRows * kDim * 2;
  const T* const keys = static_cast<const T*>(p.k) + std::size_t(kv_head) * grid.kv_len * kDim;
  const auto load_step = [&](int step) {
    if (step < steps)
      load_keys<T, kDim, kRows>(k + step % 2 * kStepKeys * kDim * 2, keys, list.chunk(2 * step),
                                list.chunk(2 * step + 1), grid.kv_len);
    commit_copies();
  };
  load_rows<T, kDim, kRows, kRows>(q, static_cast<const T*>(p.q) + std::size_t(head) * grid.q_len * kDim, first,
                                   grid.q_len);
  load_step(0);
  SoftmaxState state;
  for (int step = 0; step < steps; ++step) {
    load_step(step + 1);
    wait_copies<1>();
    __syncthreads();
    Scores s;
    multiply_qk<T, kDim>(s, q, warp_row, k + step % 2 * kStepKeys * kDim * 2);
    hide_scores(s, grid, first + warp_row, list.chunk(2 * step), list.chunk(2 * step + 1));
    float rescale[kMTiles][2];
    state.add(s, p.scale * 1.4426950409f, rescale);
    __syncthreads();
  }
#pragma unroll
  for (int m = 0; m < kMTiles; ++m)
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      state.sum[m][h] = row_sum(state.sum[m][h]);
      lse[warp_row + row_of(m, h)] = state.lse(m, h);
    }
  __syncthreads();
  if (row >= grid.q_len) return;
  const float shift = k_mean ? dot_row<T, kDim>(memory, threadIdx.x, k_mean + kv_head * kDim) : 0.0f;
  limit[std::size_t(head) * grid.q_len + row] = (lse[threadIdx.x] + log_thresholds[head]) / p.scale - shift;
}

}  // namespace

void sale_reference(const DeviceProblem& p, const SaleOptions& options, const float* log_thresholds,
                    const SaleBuffers& b, MaskView mask, Stream stream) {
  const auto launch = [&](auto type, auto dim, auto rows) {
    constexpr auto kernel = reference_kernel<decltype(type), dim, rows>;
    constexpr int bytes = (rows + 2 * kStepKeys) * dim * 2;
    SALEBENCH_CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
    kernel<<<dim3(mask.grid.q_blocks(), p.shape.q_heads), int(rows), bytes, stream>>>(
        p, DeviceGrid(mask.grid), options.local_blocks, options.all_dense, log_thresholds,
        options.bits == 16 ? nullptr : b.k_mean, b.limit, mask.bits);
  };
  dispatch(p.dtype, p.shape.head_dim, [&](auto type, auto dim) {
    if (mask.grid.block.q == 64)
      launch(type, dim, std::integral_constant<int, 64>());
    else
      launch(type, dim, std::integral_constant<int, 128>());
  });
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
}

}  // namespace salebench::cuda
