// Who feeds the consumers of Hopper's attention kernel: a team's scheduler, which takes items of work one by one and
// loads their queries ahead, and its producer, which loads the tiles of K and V that they list. Each is one thread.
#pragma once

#include "kernels/cuda/attention/hopper_shared.cuh"

namespace salebench::cuda {

template <class Shared, bool kAgain>
class HopperScheduler {
 public:
  __device__ HopperScheduler(const HopperArgs& a, Shared& shared)
      : a_(a), shared_(shared), items_(kAgain && a.again.now ? *a.again.count : unsigned(a.items)) {}

  __device__ void run() {
    for (bool more = true; more;) {
      HopperItem item = next();
      more = item.tiles > 0;
      if (more)
        for (int i = 0; i < 2; ++i) item.last[i] = HopperList(a_, item).tile_or_none(item.tiles - 1 - i);
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
    if constexpr (Shared::kLowBit) {
      const std::size_t row = std::size_t(item.head) * a_.low.q_rows + item.q_block * Shared::kRows;
      full.arrive_expecting(Shared::kQueryBytes + sizeof(shared_.row_scales[at]));
      copy_bytes(shared_address(shared_.q[at]), a_.low.q + row * (Shared::kQueryBytes / Shared::kRows),
                 Shared::kQueryBytes, full);
      copy_bytes(shared_address(shared_.row_scales[at]), a_.low.q_scale + row, sizeof(shared_.row_scales[at]), full);
    } else {
      full.arrive_expecting(Shared::kQueryBytes);
      copy_box(shared_address(shared_.q[at]), a_.q, full, 0, item.q_block * Shared::kRows, 0, item.head);
    }
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

template <class Shared>
class HopperProducer {
 public:
  __device__ HopperProducer(const HopperArgs& a, Shared& shared) : a_(a), shared_(shared) {}

  /// The slots get K of a tile, then V of the tile before it, as the consumers use them. Where there is no tile, before
  /// the first and after the last, a slot is handed on as it is.
  __device__ void run() {
    for (HopperItem item = next_item(); item.tiles > 0; item = next_item()) {
      const HopperList list(a_, item);
      uint2 chunks = item.last[0], next = item.last[1];
      float4 scales = key_scales(item, chunks);
      bool whole = is_whole(item, chunks);
      for (int t = item.tiles - 1; t >= 0; --t) {
        const uint2 ahead = list.tile_or_none(t - 2);
        const float4 next_scales = key_scales(item, next);
        const bool next_is_whole = t > 0 && is_whole(item, next);
        load_keys(item.head / a_.group, chunks, scales, !whole, next_is_whole);
        load_values();
        before_ = chunks, before_head_ = item.head / a_.group;
        chunks = next, next = ahead, scales = next_scales, whole = next_is_whole;
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
    if (are_neighbours(chunks) && a_.tail_chunk < 0) {
      copy_box(to, tile_map, full, 0, 0, 0, chunk_of(chunks, 0) * (kChunkKeys / 8), kv_head);
      return;
    }
#pragma unroll
    for (int i = 0; i < kTileChunks; ++i) {
      const int chunk = chunk_of(chunks, i);
      const bool tail = chunk == a_.tail_chunk;
      copy_box(to + i * (Shared::kTileBytes / kTileChunks), tail ? tail_map : chunk_map, full, 0, 0, 0,
               tail ? 0 : chunk * (kChunkKeys / 8), kv_head);
    }
  }

  /// Copies chunks of 8-bit keys or values [kv_heads, chunks][kLowBitChunk]. For one that does not exist another comes,
  /// whose scores are hidden.
  __device__ void copy_low_bit_tile(const char* from, uint2 chunks, int kv_head) {
    const std::uint32_t to = shared_address(shared_.slots[place_.slot]);
    const Barrier full = fill_slot(kTileChunks * Shared::kLowBitChunk);
    const char* const head = from + std::size_t(kv_head) * a_.low.chunks * Shared::kLowBitChunk;
    if (are_neighbours(chunks) && chunk_of(chunks, 3) < a_.low.chunks) {
      copy_bytes(to, head + std::size_t(chunk_of(chunks, 0)) * Shared::kLowBitChunk, kTileChunks * Shared::kLowBitChunk,
                 full);
      return;
    }
#pragma unroll
    for (int i = 0; i < kTileChunks; ++i)
      copy_bytes(to + i * Shared::kLowBitChunk, head + std::size_t(low_bit_chunk(chunks, i)) * Shared::kLowBitChunk,
                 Shared::kLowBitChunk, full);
  }

  __device__ int low_bit_chunk(uint2 chunks, int i) const {
    return min(chunk_of(chunks, i), a_.low.chunks - 1);
  }

  /// The scales of a tile's 8-bit keys.
  __device__ float4 key_scales(const HopperItem& item, uint2 chunks) const {
    if constexpr (Shared::kLowBit) {
      const float* const head = a_.low.k_scale + std::size_t(item.head / a_.group) * a_.low.chunks;
      return {__ldg(head + low_bit_chunk(chunks, 0)), __ldg(head + low_bit_chunk(chunks, 1)),
              __ldg(head + low_bit_chunk(chunks, 2)), __ldg(head + low_bit_chunk(chunks, 3))};
    }
    return {};
  }

  /// Whether all rows of the item see all keys of a tile.
  __device__ bool is_whole(const HopperItem& item, uint2 chunks) const {
    bool whole = true;
#pragma unroll
    for (int i = 0; i < kTileChunks; ++i) {
      const int key = chunk_of(chunks, i) * kChunkKeys;
      whole = whole && a_.grid.all_visible(item.q_block * Shared::kRows, Shared::kRows, key, kChunkKeys);
    }
    return whole;
  }

  __device__ void load_keys(int kv_head, uint2 chunks, const float4& scales, bool cut, bool next_is_whole) {
    shared_.barrier(shared_.empty[place_.slot]).wait(place_.parity ^ 1);  // also guards what is said of the tile
    HopperTile& tile = shared_.tiles[place_.slot];
    *reinterpret_cast<uint2*>(tile.chunks) = chunks;
    tile.cut = cut, tile.next_is_whole = next_is_whole;
    if constexpr (Shared::kLowBit) {
      shared_.key_scales[place_.slot] = scales;
      copy_low_bit_tile(a_.low.k, chunks, kv_head);
    } else {
      copy_tile(a_.k, a_.k_tile, a_.k_tail, chunks, kv_head);
    }
  }

  __device__ void load_values() {
    if (before_head_ < 0)
      fill_slot(0);
    else if constexpr (Shared::kLowBitValues)
      copy_low_bit_tile(a_.low.v, before_, before_head_);
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
