// The scan of SALE's middle key blocks with exact logits. A CTA takes 128 query rows.
#include "kernels/cuda/select/sale.cuh"

namespace salebench::cuda {
namespace {

constexpr int kRows = 128;  // and threads
constexpr int kStages = 2;

template <class T, int kDim>
__global__ void __launch_bounds__(kRows) exact_scan_kernel(DeviceProblem p, DeviceGrid grid, int local_blocks,
                                                           int group, const float* limits, std::uint32_t* bits) {
  extern __shared__ __align__(1024) char memory[];
  const int row_groups = (grid.q_len + kRows - 1) / kRows, of_kv_head = blockIdx.x % (group * row_groups);
  const int kv_head = blockIdx.x / (group * row_groups), head = kv_head * group + of_kv_head % group;
  const int cta_row = (row_groups - 1 - of_kv_head / group) * kRows;
  const float* const limit = limits + std::size_t(head) * grid.q_len;
  if (limit[cta_row] == INFINITY) return;  // a dense head
  const int warp_row = threadIdx.x / 32 * kWarpRows, row = cta_row + warp_row, q_block = row / grid.block_q;
  const int first_block = cta_row / grid.block_q;
  const ScanSpan span(grid, first_block, max(first_block, min(grid.q_blocks, (cta_row + kRows) / grid.block_q) - 1),
                      local_blocks);
  const bool inside = q_block < grid.q_blocks;
  const int begin = inside ? middle_begin(grid, q_block) : 0,
            end = inside ? middle_end(grid, q_block, local_blocks) : 0;
  // In groups of 16 steps, which fill a word of found chunks.
  const int shift = tile_shift(grid);
  const int first_step = span.begin * (grid.block_k / kChunkKeys) / 32 * 16;
  const int steps = (span.end * (grid.block_k / kChunkKeys) + 1) / 2;

  const std::uint32_t q = shared_address(memory), k = q + kRows * kDim * 2;
  const T* const keys = static_cast<const T*>(p.k) + std::size_t(kv_head) * grid.kv_len * kDim;
  const auto load = [&](int step) {
    if (step < steps)
      load_keys<T, kDim, kRows>(k + step % kStages * kStepKeys * kDim * 2, keys, 2 * step, 2 * step + 1, grid.kv_len);
    commit_copies();
  };
  load_rows<T, kDim, kRows, kRows>(q, static_cast<const T*>(p.q) + std::size_t(head) * grid.q_len * kDim, cta_row,
                                   grid.q_len);
  load(first_step);
  float own_limit[kMTiles][2];
#pragma unroll
  for (int m = 0; m < kMTiles; ++m)
#pragma unroll
    for (int h = 0; h < 2; ++h)
      own_limit[m][h] = row + row_of(m, h) < grid.q_len ? limit[row + row_of(m, h)] : INFINITY;
  std::uint32_t* const mask_row = bits + (std::size_t(head) * grid.q_blocks + q_block) * grid.words;
  unsigned found = 0;  // chunks of the group of 32 under way
  for (int step = first_step; step < steps; ++step) {
    load(step + 1);
    wait_copies<1>();
    __syncthreads();
    Scores s;
    multiply_qk<T, kDim>(s, q, warp_row, k + step % kStages * kStepKeys * kDim * 2);
#pragma unroll
    for (int n = 0; n < kNTiles; ++n) {
      bool any = false;
#pragma unroll
      for (int m = 0; m < kMTiles; ++m)
#pragma unroll
        for (int h = 0; h < 2; ++h) any |= fmaxf(s[m][n][2 * h], s[m][n][2 * h + 1]) >= own_limit[m][h];
      if (any) found |= 1u << ((2 * step + n / (kNTiles / 2)) % 32);
    }
    if (step % 16 == 15 || step == steps - 1) {
      keep_found(mask_row, shift, begin << shift, end << shift, step / 16, found);
      found = 0;
    }
    __syncthreads();
  }
}

}  // namespace

void sale_scan_exact(const DeviceProblem& p, const SaleOptions& options, const SaleBuffers& b, MaskView mask,
                     Stream stream) {
  dispatch(p.dtype, p.shape.head_dim, [&](auto type, auto dim) {
    constexpr auto kernel = exact_scan_kernel<decltype(type), dim>;
    constexpr int bytes = (kRows + kStages * kStepKeys) * dim * 2;
    SALEBENCH_CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
    kernel<<<p.shape.q_heads * ceil_div(p.shape.q_len, kRows), kRows, bytes, stream>>>(
        p, DeviceGrid(mask.grid), options.local_blocks, p.shape.group(), b.limit, mask.bits);
  });
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
}

}  // namespace salebench::cuda
