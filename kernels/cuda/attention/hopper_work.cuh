// Who does what in Hopper's attention kernel: what all of it is given, what a team keeps in shared memory, its
// scheduler, which takes items of work one by one and loads their queries ahead, and its producer, which loads the
// tiles of K and V that they list. Each of the two is one thread.
#pragma once

#include "kernels/cuda/attention/block_index.cuh"
#include "kernels/cuda/attention/hopper_scores.cuh"
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

/// An item of work. The last one of a CTA has no tiles.
struct HopperItem {
  int head, q_block, tiles;
  uint2 last_tile;  ///< its chunks, so that the producer need not wait for them
};

/// Of a team: a scheduler, a producer and kGroups consumers, which use each tile together. An item of its work has 64
/// rows for each of them.
template <int kDim, int kGroups>
struct alignas(1024) HopperShared {
  static constexpr int kRows = kGroups * kGroupRows;
  static constexpr int kTeams = kHopperGroups / kGroups;  ///< of a CTA
  static constexpr int kTileBytes = kTileKeys * kDim * 2;
  static constexpr int kChunkBytes = kChunkKeys * kDim * 2;
  static constexpr int kQueryBytes = kRows * kDim * 2;
  static constexpr int kBytes = (224 << 10) / kTeams;  ///< for tiles and queries
  static constexpr int kSlots = (kGroups == 2 ? 160 << 10 : 96 << 10) / kTileBytes;
  static_assert(kSlots >= 3, "a turn holds two, and more must come");
  static constexpr int kQueries = kSlots * kTileBytes + 2 * kQueryBytes <= kBytes ? 2 : 1;
  static constexpr int kItems = 2;

  char q[kQueries][kQueryBytes];   ///< [half][row][64]
  char slots[kSlots][kTileBytes];  ///< K and V in turn, [key / 8][half][8][64]
  HopperTile tiles[kSlots];
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
};

template <int kDim, int kGroups, bool kAgain>
class HopperScheduler {
  using Shared = HopperShared<kDim, kGroups>;

 public:
  __device__ HopperScheduler(const HopperArgs& a, Shared& shared)
      : a_(a), shared_(shared), items_(kAgain && a.again.now ? *a.again.count : unsigned(a.items)) {}

  __device__ void run() {
    for (bool more = true; more;) {
      HopperItem item = next();
      more = item.tiles > 0;
      if (more) item.last_tile = HopperList(a_, item).tile(item.tiles - 1);
      shared_.barrier(shared_.item_empty[place_.slot]).wait(place_.parity ^ 1);
      shared_.items[place_.slot] = item;
      shared_.barrier(shared_.item_full[place_.slot]).arrive();
      place_.advance();
      load_queries(item);
    }
  }

 private:
  __device__ void load_queries(const HopperItem& item) {
    const int at = q_place_.slot;
    shared_.barrier(shared_.q_empty[at]).wait(q_place_.parity ^ 1);
    q_place_.advance();
    const Barrier full = shared_.barrier(shared_.q_full[at]);
    if (item.tiles == 0) {
      full.arrive();
      return;
    }
    full.arrive_expecting(Shared::kQueryBytes);
    copy_box(shared_address(shared_.q[at]), a_.q, full, 0, item.q_block * Shared::kRows, 0, item.head);
  }
  __device__ HopperItem next() {
    // Taken with one more than there are items by each team, after which the counter is 0 again.
    const unsigned last = items_ + gridDim.x * Shared::kTeams - 1, number = atomicInc(a_.next, last);
    if (number >= items_) {
      if (kAgain && a_.again.now && number == last) *a_.again.count = 0;  // all have read it
      return {};
    }
    const int which = kAgain && a_.again.now ? listed_again(number) : a_.chunks ? a_.order[number] : in_order(number);
    HopperItem item{which / a_.grid.q_blocks, which % a_.grid.q_blocks, 0, {}};
    if (a_.chunks) {
      item.tiles = max(1, (a_.counts[which] + kTileChunks - 1) / kTileChunks);
    } else {
      const int begin = a_.grid.key_begin(a_.grid.q_begin(item.q_block)) / kTileKeys;
      item.tiles = (a_.grid.key_end(a_.grid.q_end(item.q_block) - 1) + kTileKeys - 1) / kTileKeys - begin;
    }
    return item;
  }
  __device__ int listed_again(unsigned number) {
    const int which = a_.again.items[number];
    a_.again.flags[which] = 0;
    return which;
  }
  /// Of dense attention, as BlockIndex::order.
  __device__ int in_order(unsigned number) const {
    const int of_kv_head = int(number) % (a_.group * a_.grid.q_blocks);
    const int head = int(number) / (a_.group * a_.grid.q_blocks) * a_.group + of_kv_head % a_.group;
    return head * a_.grid.q_blocks + a_.grid.q_blocks - 1 - of_kv_head / a_.group;
  }

  const HopperArgs& a_;
  Shared& shared_;
  const unsigned items_;
  RingPlace<Shared::kItems> place_;
  RingPlace<Shared::kQueries> q_place_;
};

template <int kDim, int kGroups>
class HopperProducer {
  using Shared = HopperShared<kDim, kGroups>;

 public:
  __device__ HopperProducer(const HopperArgs& a, Shared& shared) : a_(a), shared_(shared) {}

  /// The slots get K of a tile, then V of the tile before it, as the consumers use them. Where there is no tile, before
  /// the first and after the last, a slot is handed on as it is.
  __device__ void run() {
    for (HopperItem item = next_item(); item.tiles > 0; item = next_item()) {
      const HopperList list(a_, item);
      uint2 chunks = item.last_tile;
      bool cut = is_cut(item, chunks);
      for (int t = item.tiles - 1; t >= 0; --t) {
        const uint2 ahead = t > 0 ? list.tile(t - 1) : uint2{};
        const bool next_cut = is_cut(item, ahead);
        load_keys(item.head / a_.group, chunks, cut, next_cut);
        load_values();
        before_ = chunks, before_head_ = item.head / a_.group;
        chunks = ahead, cut = next_cut;
      }
    }
    fill_slot(0);
    load_values();
  }

 private:
  __device__ HopperItem next_item() {
    const int at = place_of_item_.slot;
    shared_.barrier(shared_.item_full[at]).wait(place_of_item_.parity);
    place_of_item_.advance();
    const HopperItem item = shared_.items[at];
    shared_.barrier(shared_.item_empty[at]).arrive();
    return item;
  }

  /// Waits until the next slot is free and announces what it will hold.
  __device__ Barrier fill_slot(int bytes) {
    shared_.barrier(shared_.empty[place_.slot]).wait(place_.parity ^ 1);
    const Barrier full = shared_.barrier(shared_.full[place_.slot]);
    if (bytes > 0)
      full.arrive_expecting(bytes);
    else
      full.arrive();
    place_.advance();
    return full;
  }

  __device__ void copy_tile(const CUtensorMap& chunk_map, const CUtensorMap& tile_map, const CUtensorMap& tail_map,
                            uint2 chunks, int kv_head) {
    const std::uint32_t to = shared_address(shared_.slots[place_.slot]);
    const Barrier full = fill_slot(Shared::kTileBytes);
    const int first = chunks.x & 0xffff;
    const bool neighbours =
        chunks.x >> 16 == first + 1 && (chunks.y & 0xffff) == first + 2 && chunks.y >> 16 == first + 3;
    if (neighbours && a_.tail_chunk < 0) {
      copy_box(to, tile_map, full, 0, 0, 0, first * (kChunkKeys / 8), kv_head);
      return;
    }
#pragma unroll
    for (int i = 0; i < kTileChunks; ++i) {
      const int chunk = chunk_of(chunks, i);
      const bool tail = chunk == a_.tail_chunk;
      copy_box(to + i * Shared::kChunkBytes, tail ? tail_map : chunk_map, full, 0, 0, 0,
               tail ? 0 : chunk * (kChunkKeys / 8), kv_head);
    }
  }

  /// Whether a row of the item does not see all keys of a tile.
  __device__ bool is_cut(const HopperItem& item, uint2 chunks) const {
    bool whole = true;
#pragma unroll
    for (int i = 0; i < kTileChunks; ++i) {
      const int key = chunk_of(chunks, i) * kChunkKeys;
      whole = whole && a_.grid.all_visible(item.q_block * Shared::kRows, Shared::kRows, key, kChunkKeys);
    }
    return !whole;
  }

  __device__ void load_keys(int kv_head, uint2 chunks, bool cut, bool next_cut) {
    shared_.barrier(shared_.empty[place_.slot]).wait(place_.parity ^ 1);  // also guards what is said of the tile
    HopperTile& tile = shared_.tiles[place_.slot];
    *reinterpret_cast<uint2*>(tile.chunks) = chunks;
    tile.cut = cut, tile.next_cut = next_cut;
    copy_tile(a_.k, a_.k_tile, a_.k_tail, chunks, kv_head);
  }

  __device__ void load_values() {
    if (before_head_ < 0)
      fill_slot(0);
    else
      copy_tile(a_.v, a_.v_tile, a_.v_tail, before_, before_head_);
  }

  const HopperArgs& a_;
  Shared& shared_;
  RingPlace<Shared::kSlots> place_;
  RingPlace<Shared::kItems> place_of_item_;
  uint2 before_{};
  int before_head_ = -1;
};

}  // namespace salebench::cuda
