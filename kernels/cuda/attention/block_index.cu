#include "kernels/cuda/attention/block_index.cuh"

namespace salebench::cuda {
namespace {

constexpr int kWarps = 4;       // rows of tiles a CTA unpacks
constexpr int kBuckets = 2048;  // list lengths that the order tells apart
constexpr int kOrderThreads = 1024;
constexpr int kPadding = 4;  // chunks that a list is a multiple of

__device__ int padding(int count) {
  return count == 0 ? kPadding : (kPadding - count % kPadding) % kPadding;
}

/// One warp a row of tiles. Each lane owns one chunk of a group of 32 and finds its place by counting the bits below.
__global__ void __launch_bounds__(32 * kWarps)
    unpack_kernel(const std::uint32_t* bits, DeviceGrid grid, ListLayout layout, std::int64_t head_stride, int items,
                  std::uint16_t* chunks, std::int32_t* counts) {
  const int item = blockIdx.x * kWarps + threadIdx.x / 32, lane = lane_id();
  if (item >= items) return;
  const int head = item / grid.q_blocks, q_block = item % grid.q_blocks;
  const std::uint32_t* const row = bits + std::size_t(item) * grid.words;
  std::uint16_t* const list = chunks + head * head_stride + layout.begin(q_block);
  const int chunks_a_tile = grid.block_k / kChunkKeys;
  const int seen = (grid.key_end(grid.q_end(q_block) - 1) + kChunkKeys - 1) / kChunkKeys;
  int count = 0;
  for (int first = 0; first < seen; first += 32) {
    const int chunk = first + lane, tile = chunk / chunks_a_tile;
    const bool kept = chunk < seen && (row[tile / 32] >> (tile % 32) & 1u);
    const unsigned all = __ballot_sync(~0u, kept);
    if (kept) list[count + __popc(all & ((1u << lane) - 1))] = std::uint16_t(chunk);
    count += __popc(all);
  }
  if (lane < padding(count)) list[count + lane] = kNoChunk;
  if (lane == 0) counts[item] = count;
}

/// Sorts the rows of a KV head's query heads by falling list length, one CTA a KV head: counts by bucket, running sums,
/// then places.
__global__ void __launch_bounds__(kOrderThreads)
    order_kernel(const std::int32_t* counts, int items, int longest, std::int32_t* order) {
  const int begin = blockIdx.x * items, end = begin + items;
  __shared__ int place[kBuckets];
  __shared__ int warp_total[32];
  const int t = threadIdx.x;
  const auto bucket = [&](int item) {
    return kBuckets - 1 - int(std::int64_t(counts[item]) * (kBuckets - 1) / longest);
  };
  place[2 * t] = place[2 * t + 1] = 0;
  __syncthreads();
  for (int item = begin + t; item < end; item += kOrderThreads) atomicAdd(&place[bucket(item)], 1);
  __syncthreads();
  const int first = place[2 * t], own = first + place[2 * t + 1];
  int below = own;  // inclusive sum over the warp
  for (int step = 1; step < 32; step *= 2) {
    const int other = __shfl_up_sync(~0u, below, step);
    if (t % 32 >= step) below += other;
  }
  if (t % 32 == 31) warp_total[t / 32] = below;
  __syncthreads();
  int before = below - own;
  for (int warp = 0; warp < t / 32; ++warp) before += warp_total[warp];
  place[2 * t] = before;
  place[2 * t + 1] = before + first;
  __syncthreads();
  for (int item = begin + t; item < end; item += kOrderThreads)
    order[begin + atomicAdd(&place[bucket(item)], 1)] = item;
}

BlockIndex lay_out(const BlockGrid& grid, int heads, WorkspaceCursor& workspace) {
  BlockIndex index{grid, heads, ListLayout(grid).begin(grid.q_blocks())};
  const std::size_t items = std::size_t(heads) * grid.q_blocks();
  index.chunks = workspace.take<std::uint16_t>(std::size_t(heads) * index.head_stride);
  index.counts = workspace.take<std::int32_t>(items);
  index.order = workspace.take<std::int32_t>(items);
  index.scratch = workspace.take<char>(attention_scratch_bytes(grid, heads));
  return index;
}

}  // namespace

std::size_t block_index_bytes(const BlockGrid& grid, int heads) {
  WorkspaceCursor workspace(nullptr);
  lay_out(grid, heads, workspace);
  return workspace.used();
}

BlockIndex build_block_index(MaskView mask, int kv_heads, void* workspace, Stream stream) {
  require(why_unsupported(mask.grid.block));
  require(mask.grid.kv_len > kMaxKeys ? "at most 2097120 keys fit a list's 16-bit chunk numbers" : nullptr);
  WorkspaceCursor cursor(workspace);
  const BlockIndex index = lay_out(mask.grid, mask.heads, cursor);
  const int items = mask.heads * mask.grid.q_blocks();
  unpack_kernel<<<ceil_div(items, kWarps), 32 * kWarps, 0, stream>>>(
      mask.bits, DeviceGrid(mask.grid), ListLayout(mask.grid), index.head_stride, items, index.chunks, index.counts);
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
  order_kernel<<<kv_heads, kOrderThreads, 0, stream>>>(index.counts, items / kv_heads,
                                                       ceil_div(mask.grid.kv_len, kChunkKeys), index.order);
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
  clear_attention_scratch(mask.grid, mask.heads, index.scratch, stream);
  return index;
}

}  // namespace salebench::cuda
