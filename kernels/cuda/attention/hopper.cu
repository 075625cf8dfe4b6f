#include "kernels/cuda/attention/hopper.h"

#include "kernels/cuda/attention/hopper_launch.cuh"
#include "kernels/cuda/hopper/hopper_here.h"
#include "kernels/cuda/hopper/tensor_map.h"

namespace salebench::cuda {
namespace {

constexpr int kBoxRows = 8;  // a box of keys is made of so many rows, or a multiple
constexpr int kMaxHeadDim = 128;

/// Where the scratch memory's parts are.
struct Scratch {
  unsigned* next = nullptr;
  HopperAgain again{};
  std::size_t zero_bytes = 0;  // from the beginning on
  void *k_tail = nullptr, *v_tail = nullptr;
  std::size_t bytes = 0;

  Scratch(const BlockGrid& grid, int heads, void* base) {
    const std::size_t items = std::size_t(heads) * grid.q_blocks();
    WorkspaceCursor cursor(base);
    next = cursor.take<unsigned>(1), again.count = cursor.take<unsigned>(1), again.flags = cursor.take<unsigned>(items);
    zero_bytes = cursor.used();
    again.items = cursor.take<std::int32_t>(items);
    const std::size_t tail = std::size_t(heads) * kChunkKeys * kMaxHeadDim * 2;
    k_tail = cursor.take<char>(tail), v_tail = cursor.take<char>(tail);
    bytes = cursor.used();
  }
};

/// Copies the keys from `begin` on, less than 32, of each head [kv_len, row_words] and fills up with zeros; one CTA a
/// head.
__global__ void copy_tails_kernel(const uint4* k, const uint4* v, uint4* k_tail, uint4* v_tail, int kv_len, int begin,
                                  int row_words) {
  for (int i = threadIdx.x; i < kChunkKeys * row_words; i += blockDim.x) {
    const bool inside = begin + i / row_words < kv_len;
    const std::size_t from = (std::size_t(blockIdx.x) * kv_len + begin) * row_words + i;
    const std::size_t to = std::size_t(blockIdx.x) * kChunkKeys * row_words + i;
    k_tail[to] = inside ? k[from] : uint4{};
    v_tail[to] = inside ? v[from] : uint4{};
  }
}

/// Boxes end at multiples of 8 keys; a last chunk that does not is read from copies. Returns its number, or -1.
int copy_tails(const DeviceProblem& p, const Scratch& scratch, Stream stream) {
  if (p.shape.kv_len % kBoxRows == 0) return -1;
  const int chunk = p.shape.kv_len / kChunkKeys;
  copy_tails_kernel<<<p.shape.kv_heads, 256, 0, stream>>>(
      static_cast<const uint4*>(p.k), static_cast<const uint4*>(p.v), static_cast<uint4*>(scratch.k_tail),
      static_cast<uint4*>(scratch.v_tail), p.shape.kv_len, chunk * kChunkKeys, p.shape.head_dim / 8);
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
  return chunk;
}

HopperArgs make_args(const DeviceProblem& p, const BlockIndex& index, const DeviceAttention& out,
                     const Scratch& scratch, int tail_chunk) {
  const Shape& s = p.shape;
  const auto keys = [&](const void* base, int box) {
    return map_row_groups(base, p.dtype, s.kv_heads, s.kv_len, s.head_dim, box);
  };
  const auto tail = [&](const void* base) {
    return map_row_groups(base, p.dtype, s.kv_heads, kChunkKeys, s.head_dim, kChunkKeys);
  };
  return {.low = {},
          .q = map_rows(p.q, p.dtype, s.q_heads, s.q_len, s.head_dim, index.grid.block.q),
          .k = keys(p.k, kChunkKeys),
          .v = keys(p.v, kChunkKeys),
          .k_tile = keys(p.k, kTileKeys),
          .v_tile = keys(p.v, kTileKeys),
          .k_tail = tail(scratch.k_tail),
          .v_tail = tail(scratch.v_tail),
          .tail_chunk = tail_chunk,
          .grid = DeviceGrid(index.grid),
          .layout = ListLayout(index.grid),
          .chunks = index.chunks,
          .counts = index.counts,
          .order = index.order,
          .head_stride = index.head_stride,
          .items = s.q_heads * index.grid.q_blocks(),
          .group = s.group(),
          .next = scratch.next,
          .again = scratch.again,
          .scale2 = p.scale * 1.4426950409f,
          .output = out.output,
          .lse = out.lse};
}

template <class T, int kDim, int kGroups>
void launch(HopperArgs args, Stream stream) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {  // float16 has no room for weights above 2^16
    launch_hopper<HopperConsumer<T, kDim, kGroups, false>>(args, stream);
    args.again.now = true;
  }
  launch_hopper<HopperConsumer<T, kDim, kGroups, true>>(args, stream);
}

}  // namespace

std::size_t attention_scratch_bytes(const BlockGrid& grid, int heads) {
  return Scratch(grid, heads, nullptr).bytes;
}

void clear_attention_scratch(const BlockGrid& grid, int heads, void* scratch, Stream stream) {
  SALEBENCH_CUDA_CHECK(cudaMemsetAsync(scratch, 0, Scratch(grid, heads, scratch).zero_bytes, stream));
}

void hopper_attention(const DeviceProblem& p, const LowBitProblem& low, const BlockIndex& index,
                      const DeviceAttention& out, Stream stream) {
  const Scratch parts(index.grid, p.shape.q_heads, index.scratch);
  const int tail_chunk = low.operands == Operands::fp8 ? -1 : copy_tails(p, parts, stream);
  HopperArgs args = make_args(p, index, out, parts, tail_chunk);
  args.low = low;
  if (low.operands == Operands::int8) return int8_attention(args, p.dtype, p.shape.head_dim, stream);
  if (low.operands == Operands::fp8) return fp8_attention(args, p.dtype, p.shape.head_dim, stream);
  dispatch(p.dtype, p.shape.head_dim, [&](auto type, auto dim) {
    if (index.grid.block.q == kGroupRows)
      launch<decltype(type), dim.value, 1>(args, stream);
    else
      launch<decltype(type), dim.value, 2>(args, stream);
  });
}

}  // namespace salebench::cuda
