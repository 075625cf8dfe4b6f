// What all of Hopper's attention kernel is given, what a team keeps in shared memory, and what an item of work lists.
#pragma once

#include "kernels/cuda/attention/block_index.cuh"
#include "kernels/cuda/attention/hopper_scores.cuh"
#include "kernels/cuda/attention/operands.h"
#include "kernels/cuda/hopper/tma.cuh"

namespace salebench::cuda {

constexpr int kHopperGroups = 2;                                     ///< consumer warpgroups of a CTA
constexpr int kHopperThreads = (1 + kHopperGroups) * kGroupThreads;  ///< with the warpgroup of the producers
constexpr int kGroupRows = 64;                                       ///< query rows of a consumer

/// Items that the first kernel could not finish, for the second one, which leaves this as it should be before the
/// first: zeros but for the list.
struct HopperAgain {
  unsigned *count, *flags;  ///< [1]; [items], 1 for those that are listed
  std::int32_t* items;      ///< head * q_blocks + q_block
  bool now;                 ///< this is the second kernel: only the listed items are done
};

struct HopperArgs {
  LowBitProblem low;           ///< the operands that are read as 8 bits, instead of those below
  CUtensorMap q, k, v;         ///< boxes of an item's rows; of a chunk
  CUtensorMap k_tile, v_tile;  ///< boxes of a whole tile, for chunks that are neighbours
  CUtensorMap k_tail, v_tail;  ///< [kv_heads, 32, head_dim]: copies of the last chunk, where it ends within 8 rows
  int tail_chunk;              ///< the chunk that k_tail and v_tail hold; -1 for none
  DeviceGrid grid;             ///< block_q is an item's rows
  ListLayout layout;
  const std::uint16_t* chunks;  ///< lists as in BlockIndex; null for dense
  const std::int32_t *counts, *order;
  std::int64_t head_stride;
  int items, group;
  unsigned* next;  ///< the next item to be taken; 0 before and after
  HopperAgain again;
  float scale2;  ///< scale * log2(e)
  void* output;
  float* lse;
};

/// Launches of the kernels for 8-bit operands.
void int8_attention(const HopperArgs& args, Dtype dtype, int head_dim, Stream stream);
void fp8_attention(const HopperArgs& args, Dtype dtype, int head_dim, Stream stream);

/// An item of work. The last one of a team has no tiles.
struct HopperItem {
  int head, q_block, tiles;
  uint2 last[2];  ///< chunks of its last tiles, the last one first, so that the producer need not wait for them
};

/// Of a team: a scheduler, a producer and kGroups consumers, which use each tile together. An item of its work has 64
/// rows for each of them.
template <int kDim, int kGroups, Operands kOperands>
struct alignas(1024) HopperShared {
  static constexpr bool kLowBit = kOperands != Operands::bits16, kLowBitValues = kOperands == Operands::fp8;
  static constexpr int kRows = kGroups * kGroupRows;
  static constexpr int kTeams = kHopperGroups / kGroups;  ///< of a CTA
  static constexpr int kTileBytes = kTileKeys * kDim * (kLowBitValues ? 1 : 2);
  static constexpr int kLowBitChunk = kChunkKeys * kDim;  ///< bytes
  static constexpr int kQueryBytes = kRows * kDim * (kLowBit ? 1 : 2);
  static constexpr int kBytes = (224 << 10) / kTeams;  ///< for tiles and queries
  static constexpr int kSlots = (kGroups == 2 ? 160 << 10 : 96 << 10) / kTileBytes;
  static_assert(kSlots >= 3, "a turn holds two, and more must come");
  static constexpr int kQueries = kSlots * kTileBytes + 2 * kQueryBytes <= kBytes ? 2 : 1;
  static constexpr int kItems = 2;

  char q[kQueries][kQueryBytes];   ///< [half][row][64]; 8 bits: [row][kDim]
  char slots[kSlots][kTileBytes];  ///< K and V in turn, [key / 8][half][8][64]; 8 bits: as LowBitProblem
  HopperTile tiles[kSlots];
  float4 key_scales[kLowBit ? kSlots : 1];  ///< of the tile's chunks
  __align__(16) float row_scales[kQueries][kLowBit ? kRows : 4];
  HopperItem items[kItems];
  std::uint64_t full[kSlots], empty[kSlots], q_full[kQueries], q_empty[kQueries], item_full[kItems], item_empty[kItems];

  __device__ static Barrier barrier(const std::uint64_t& b) { return {shared_address(&b)}; }
  __device__ void init() {
    constexpr int kConsumers = kGroups * kGroupThreads / 32 * kWarpArrivals;
    for (int i = 0; i < kSlots; ++i) barrier(full[i]).init(1), barrier(empty[i]).init(kConsumers);
    for (int i = 0; i < kQueries; ++i) barrier(q_full[i]).init(1), barrier(q_empty[i]).init(kConsumers);
    for (int i = 0; i < kItems; ++i) barrier(item_full[i]).init(1), barrier(item_empty[i]).init(kConsumers + 1);
    publish_barriers();
  }
};

/// Chunk i of a tile, of four in two words; the first is in the lower half of x.
__device__ inline int chunk_of(uint2 chunks, int i) {
  return (i < 2 ? chunks.x : chunks.y) >> (i % 2 * 16) & 0xffff;
}

/// Whether a tile's chunks follow each other.
__device__ inline bool are_neighbours(uint2 chunks) {
  const int first = chunk_of(chunks, 0);
  return chunk_of(chunks, 1) == first + 1 && chunk_of(chunks, 2) == first + 2 && chunk_of(chunks, 3) == first + 3;
}

/// The tiles of an item, which are walked from the last to the first, since the last are those at the diagonal.
struct HopperList {
  int first_chunk = 0;           ///< of dense attention, under a sliding window
  const uint2* tiles = nullptr;  ///< four chunk numbers each; null for dense

  __device__ HopperList(const HopperArgs& a, const HopperItem& item) {
    if (a.chunks)
      tiles = reinterpret_cast<const uint2*>(a.chunks + item.head * a.head_stride + a.layout.begin(item.q_block));
    else
      first_chunk = a.grid.key_begin(a.grid.q_begin(item.q_block)) / kTileKeys * kTileChunks;
  }
  /// The chunks of a tile, as chunk_of() finds them.
  __device__ uint2 tile(int t) const {
    if (tiles) return __ldg(tiles + t);
    const std::uint32_t low = first_chunk + t * kTileChunks;
    return {low | (low + 1) << 16, (low + 2) | (low + 3) << 16};
  }
  __device__ uint2 tile_or_none(int t) const { return t < 0 ? uint2{} : tile(t); }
};

}  // namespace salebench::cuda
