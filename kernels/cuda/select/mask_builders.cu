#include "kernels/cuda/select/mask_builders.h"

#include "kernels/cuda/attention/grid.cuh"
#include "kernels/cuda/device/launch.cuh"

namespace salebench::cuda {
namespace {

constexpr int kThreads = 256;

/// bits[word] of a row holds tile(kb) for its 32 tiles; one thread a word, one grid row a query block and a head.
template <class Tile>
__global__ void tiles_kernel(DeviceGrid grid, std::uint32_t* bits, Tile tile) {
  const int word = blockIdx.z * blockDim.x + threadIdx.x, q_block = blockIdx.x, head = blockIdx.y;
  if (word >= grid.words) return;
  const int begin = max(0, grid.visible_begin(q_block) - 32 * word),
            end = min(32, grid.causal_end(q_block) - 32 * word);
  std::uint32_t kept = 0;
  for (int b = begin; b < end; ++b)
    if (tile(q_block, 32 * word + b)) kept |= 1u << b;
  bits[(std::size_t(head) * grid.q_blocks + q_block) * grid.words + word] = kept;
}

template <class Tile>
void write_tiles(MaskView mask, const Tile& tile, Stream stream) {
  const DeviceGrid grid(mask.grid);
  const int threads = 64;
  tiles_kernel<<<dim3(grid.q_blocks, mask.heads, ceil_div(grid.words, threads)), threads, 0, stream>>>(grid, mask.bits,
                                                                                                       tile);
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
}

struct WindowTile {
  DeviceGrid grid;
  __device__ bool operator()(int q_block, int kb) const {
    const int first_local = grid.position(grid.q_begin(q_block)) - grid.window.local + 1;  // of the block's first row
    const int first_seen = grid.key_begin(grid.q_begin(q_block));
    const int first_of_dense = grid.key_begin(max(grid.q_begin(q_block), grid.q_len - grid.window.dense_rows));
    return (!grid.narrowed(grid.q_end(q_block) - 1) && grid.k_end(kb) > first_of_dense) ||
           grid.k_end(kb) > first_local || max(grid.k_begin(kb), first_seen) < grid.window.sink;
  }
};

struct EveryTile {
  __device__ bool operator()(int, int) const { return true; }
};

/// Order of floats as order of unsigned integers.
__device__ inline std::uint32_t sortable(float x) {
  const std::uint32_t bits = __float_as_uint(x);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/// Finds the `wanted`-th largest of values[begin, end) by radix selection over 8 bits at a time: returns it, and in
/// `equal` how many of those equal to it are still wanted. All threads of the CTA take part.
__device__ std::uint32_t nth_largest(const std::uint32_t* values, int begin, int end, int wanted, int* histogram,
                                     int* equal) {
  __shared__ std::uint32_t prefix;
  __shared__ int left;
  if (threadIdx.x == 0) prefix = 0, left = wanted;
  for (int shift = 24; shift >= 0; shift -= 8) {
    histogram[threadIdx.x] = 0;
    __syncthreads();
    const std::uint32_t above = shift == 24 ? 0 : ~0u << (shift + 8), found = prefix;
    for (int i = begin + threadIdx.x; i < end; i += kThreads)
      if ((values[i] & above) == found) atomicAdd(&histogram[values[i] >> shift & 255u], 1);
    __syncthreads();
    if (threadIdx.x == 0) {
      int digit = 255;
      while (digit > 0 && histogram[digit] < left) left -= histogram[digit--];
      prefix = found | std::uint32_t(digit) << shift;
    }
    __syncthreads();
  }
  *equal = left;
  return prefix;
}

/// One CTA a row of tiles. The forced blocks on the diagonal lie at the end of causal rows and within others, so they
/// take part in the ranking with the least value of all.
__global__ void __launch_bounds__(kThreads)
    keep_best_kernel(const float* scores, const double* budgets, ForcedBlocks forced, DeviceGrid grid,
                     std::uint32_t* bits) {
  extern __shared__ std::uint32_t values[];
  __shared__ int histogram[256];
  const int q_block = blockIdx.x, head = blockIdx.y, begin = grid.visible_begin(q_block),
            end = grid.causal_end(q_block);
  const std::size_t row = std::size_t(head) * grid.q_blocks + q_block;
  const int sink_end = max(begin, min(forced.sink, end));
  int local_begin = end, local_end = end;
  if (forced.local > 0) {
    local_end = max(grid.diagonal_end(q_block), sink_end);
    local_begin = min(grid.diagonal_end(q_block) - forced.local, grid.diagonal_begin(q_block));
  }
  local_begin = max(local_begin, sink_end);
  const int rest = end - sink_end - (local_end - local_begin);
  for (int kb = sink_end + threadIdx.x; kb < end; kb += kThreads)
    values[kb] = kb >= local_begin && kb < local_end ? 0u : sortable(scores[row * grid.k_blocks + kb]);
  // The small term keeps 0.1 * 30 blocks at 3, which binary fractions put a hair above.
  const int wanted = max(1, int(ceil(budgets[head] * (end - begin) - 1e-9)));
  const int more = max(0, min(wanted - (end - begin - rest), rest));
  __syncthreads();
  int equal = 0;
  const std::uint32_t least = more > 0 ? nth_largest(values, sink_end, end, more, histogram, &equal) : 0;
  // The first warp walks the row word by word, as the equals that still fit are those with the lowest indices.
  if (threadIdx.x >= 32) return;
  const unsigned lane = threadIdx.x;
  for (int word = 0; word < grid.words; ++word) {
    const int kb = 32 * word + lane;
    const bool local = kb >= local_begin && kb < local_end;
    const bool inside = more > 0 && kb >= sink_end && kb < end && !local, tied = inside && values[kb] == least;
    const unsigned ties = __ballot_sync(~0u, tied);
    const bool fits = tied && __popc(ties & ((1u << lane) - 1)) < equal;
    const bool keep = (kb >= begin && kb < sink_end) || local || (inside && values[kb] > least) || fits;
    const unsigned kept = __ballot_sync(~0u, keep);
    equal = max(0, equal - __popc(ties));
    if (lane == 0) bits[row * grid.words + word] = kept;
  }
}

}  // namespace

void window_mask(MaskView mask, Stream stream) {
  require(mask.grid.window ? nullptr : "the mask's grid has no window");
  write_tiles(mask, WindowTile{DeviceGrid(mask.grid)}, stream);
}

void causal_mask(MaskView mask, Stream stream) {
  write_tiles(mask, EveryTile(), stream);
}

void keep_best(const float* scores, const double* budgets, ForcedBlocks forced, MaskView mask, Stream stream) {
  require(mask.grid.k_blocks() > kMaxBudgetBlocks ? "a row of tiles is too long to choose from" : nullptr);
  const std::size_t bytes = mask.grid.k_blocks() * sizeof(std::uint32_t);
  SALEBENCH_CUDA_CHECK(
      cudaFuncSetAttribute(keep_best_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(kMaxBudgetBlocks * 4)));
  keep_best_kernel<<<dim3(mask.grid.q_blocks(), mask.heads), kThreads, bytes, stream>>>(
      scores, budgets, forced, DeviceGrid(mask.grid), mask.bits);
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
}

}  // namespace salebench::cuda
