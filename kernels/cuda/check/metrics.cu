#include "kernels/cuda/check/metrics.h"

#include "kernels/cuda/attention/grid.cuh"
#include "kernels/cuda/attention/tile.cuh"
#include "kernels/cuda/device/launch.cuh"

namespace salebench::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kSlabRows = 128;  // rows that one warp sums up

__device__ inline float warp_sum(float x) {
  for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(~0u, x, step);
  return x;
}

/// Errors of one row, whose channels the lanes of a warp share; complete in every lane.
template <int kDim, class T, class Exact>
__device__ ErrorSums row_errors(const T* got, const Exact* exact) {
  RowSums<float> row;
#pragma unroll
  for (int i = 0; i < kDim / 32; ++i) row.add(float(got[32 * i + lane_id()]), float(exact[32 * i + lane_id()]));
  for (float& sum : row.sums) sum = warp_sum(sum);
  for (int step = 16; step > 0; step /= 2) row.max_abs = fmaxf(row.max_abs, __shfl_xor_sync(~0u, row.max_abs, step));
  return ErrorSums(row);
}

/// partial [heads, slabs]: each warp sums kSlabRows rows of a head.
template <class T, class Exact, int kDim>
__global__ void __launch_bounds__(kThreads) compare_kernel(Comparison c, int slabs, ErrorSums* partial) {
  const int head = blockIdx.y, slab = blockIdx.x * (kThreads / 32) + threadIdx.x / 32;
  if (slab >= slabs) return;
  ErrorSums sum;
  for (int row = slab * kSlabRows; row < min(c.shape.q_len, (slab + 1) * kSlabRows); ++row) {
    const std::size_t at = std::size_t(head) * c.shape.q_len + row;
    sum.add(row_errors<kDim>(static_cast<const T*>(c.output) + at * kDim,
                             static_cast<const Exact*>(c.exact_output) + at * kDim));
  }
  if (lane_id() == 0) partial[head * slabs + slab] = sum;
}

__global__ void add_slabs_kernel(const ErrorSums* partial, int heads, int slabs, ErrorSums* errors) {
  const int head = blockIdx.x * blockDim.x + threadIdx.x;
  if (head >= heads) return;
  ErrorSums sum;
  for (int slab = 0; slab < slabs; ++slab) sum.add(partial[head * slabs + slab]);
  errors[head] = sum;
}

/// Visible (row, key) pairs of a tile.
__device__ int tile_tokens(const DeviceGrid& grid, int q_block, int k_block) {
  const int rows = grid.q_end(q_block) - grid.q_begin(q_block), k0 = grid.k_begin(k_block), k1 = grid.k_end(k_block);
  if (grid.all_visible(grid.q_begin(q_block), rows, k0, k1 - k0)) return rows * (k1 - k0);
  int tokens = 0;
  for (int row = grid.q_begin(q_block); row < grid.q_end(q_block); ++row) {
    const int begin = max(k0, grid.key_begin(row)), end = min(k1, grid.key_end(row));
    if (!grid.narrowed(row)) {
      tokens += max(0, end - begin);
      continue;
    }
    const int sink_end = min(end, grid.window.sink);
    const int local_begin = max(max(begin, sink_end), grid.position(row) - grid.window.local + 1);
    tokens += max(0, sink_end - begin) + max(0, end - local_begin);
  }
  return tokens;
}

/// One CTA a row of tiles of a head; counts [heads] start at zero. Whole numbers, so their order of addition is free.
__global__ void __launch_bounds__(kThreads)
    count_kernel(const std::uint32_t* bits, DeviceGrid grid, MaskCounts* counts) {
  const int q_block = blockIdx.x, head = blockIdx.y;
  const int rows = grid.q_end(q_block) - grid.q_begin(q_block), begin = grid.visible_begin(q_block),
            end = grid.causal_end(q_block);
  const std::uint32_t* const row = bits + (std::size_t(head) * grid.q_blocks + q_block) * grid.words;
  unsigned long long tiles = 0, tokens = 0, executed = 0, dense = 0;
  for (int kb = begin + threadIdx.x; kb < end; kb += kThreads) {
    if (!(row[kb / 32] >> (kb % 32) & 1u)) continue;
    ++tiles;
    tokens += tile_tokens(grid, q_block, kb);
    executed += rows * (grid.k_end(kb) - grid.k_begin(kb));
  }
  for (int row_in = threadIdx.x; row_in < rows; row_in += kThreads) {
    const int r = grid.q_begin(q_block) + row_in;
    dense += grid.key_end(r) - grid.key_begin(r);
  }
  const auto add = [](std::int64_t& to, unsigned long long value) {
    for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(~0u, value, step);
    if (lane_id() == 0 && value > 0) atomicAdd(reinterpret_cast<unsigned long long*>(&to), value);
  };
  add(counts[head].tiles, tiles);
  add(counts[head].tokens, tokens);
  add(counts[head].executed_tokens, executed);
  add(counts[head].dense_tokens, dense);
  add(counts[head].causal_tiles, threadIdx.x == 0 ? end - begin : 0);
}

int slabs_of(const Shape& shape) {
  return ceil_div(shape.q_len, kSlabRows);
}

}  // namespace

std::size_t compare_outputs_bytes(const Shape& shape) {
  return std::size_t(shape.q_heads) * slabs_of(shape) * sizeof(ErrorSums);
}

void compare_outputs(const Comparison& c, void* workspace, ErrorSums* errors, Stream stream) {
  require(why_unsupported(c.shape, 1.0f));
  const int slabs = slabs_of(c.shape);
  auto* const partial = static_cast<ErrorSums*>(workspace);
  dispatch(c.dtype, c.shape.head_dim, [&](auto type, auto dim) {
    using T = decltype(type);
    const auto kernel = c.exact_is_rounded ? compare_kernel<T, T, dim> : compare_kernel<T, float, dim>;
    kernel<<<dim3(ceil_div(slabs, kThreads / 32), c.shape.q_heads), kThreads, 0, stream>>>(c, slabs, partial);
  });
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
  add_slabs_kernel<<<ceil_div(c.shape.q_heads, 32), 32, 0, stream>>>(partial, c.shape.q_heads, slabs, errors);
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
}

void count_masks(MaskView mask, MaskCounts* counts, Stream stream) {
  SALEBENCH_CUDA_CHECK(cudaMemsetAsync(counts, 0, sizeof(MaskCounts) * mask.heads, stream));
  count_kernel<<<dim3(mask.grid.q_blocks(), mask.heads), kThreads, 0, stream>>>(mask.bits, DeviceGrid(mask.grid),
                                                                                counts);
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
}

}  // namespace salebench::cuda
