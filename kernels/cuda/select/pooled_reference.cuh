// The reference of pooled rows: the log-sum-exp of each over its sink and local keys, on Hopper's tensor cores. A CTA
// has a producer warp and a consumer warpgroup. An item of its work is 64 rows of a stack, all of one row block,
// against the keys of that block, 64 at a time.
#pragma once

#include "kernels/cuda/attention/hopper_scores.cuh"
#include "kernels/cuda/hopper/tma.cuh"
#include "kernels/cuda/hopper/wgmma.cuh"
#include "kernels/cuda/select/pooled.cuh"

namespace salebench::cuda {

constexpr int kReferenceRows = 64;
constexpr int kReferenceThreads = kGroupThreads + 32;  // the last warp is the producer
constexpr int kReferenceKeys = 64;
constexpr int kReferenceChunks = kReferenceKeys / kChunkKeys;

struct ReferenceArgs {
  CUtensorMap q, k;  ///< boxes of kReferenceRows; of one 64 channels of a chunk
  PooledWork work;
  int parts;     ///< of kReferenceRows, that the rows of a row block make at most
  int items;     ///< KV heads x row blocks x parts
  float scale2;  ///< scale * log2(e)
};

/// Log-sum-exp, in base 2, of the two rows that a thread shares with its quad. The base is the largest score of the
/// first keys; after those it stays, as float32 has room for far larger weights, until one is out of bounds.
struct ReferenceSum {
  static constexpr float kLowest = -3e38f, kLargest = 1e30f;

  float base[2] = {kLowest, kLowest}, sum[2] = {};

  template <int kCount>
  __device__ void add(const float (&s)[kCount], float scale2, bool first) {
    if (first) raise(s, scale2);
    float part[2];
    weigh(s, scale2, part);
    if (__any_sync(~0u, !(part[0] < kLargest) || !(part[1] < kLargest))) {
      raise(s, scale2);
      weigh(s, scale2, part);
    }
    sum[0] += part[0], sum[1] += part[1];
  }
  /// Of one row; all lanes of its quad ask for it.
  __device__ float lse2(int h) const { return base[h] + __log2f(row_sum(sum[h])); }

 private:
  template <int kCount>
  __device__ void raise(const float (&s)[kCount], float scale2) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      float most = s[2 * h];
#pragma unroll
      for (int i = 0; i < kCount; i += 4) most = fmaxf(most, fmaxf(s[i + 2 * h], s[i + 2 * h + 1]));
      const float next = fmaxf(base[h], row_max(most) * scale2);
      sum[h] *= exp2_fast(base[h] - next);
      base[h] = next;
    }
  }
  template <int kCount>
  __device__ void weigh(const float (&s)[kCount], float scale2, float (&part)[2]) const {
    float added[2][2] = {};
#pragma unroll
    for (int i = 0; i < kCount; ++i) added[i / 2 % 2][i % 2] += exp2_fast(s[i] * scale2 - base[i / 2 % 2]);
    part[0] = added[0][0] + added[0][1], part[1] = added[1][0] + added[1][1];
  }
};

template <int kDim>
struct ReferenceShared {
  static constexpr int kSlots = 3, kItems = 2;
  static constexpr int kTileBytes = kReferenceKeys * kDim * 2, kItemBytes = kReferenceRows * kDim * 2;

  char q[kItems][kItemBytes];      ///< [half][row][64]
  char slots[kSlots][kTileBytes];  ///< [half][key][64]
  HopperTile tiles[kSlots];        ///< whose first chunks count
  std::uint64_t full[kSlots], empty[kSlots], q_full[kItems], q_empty[kItems];

  __device__ static Barrier barrier(const std::uint64_t& b) { return {shared_address(&b)}; }
  __device__ void init() {
    constexpr int kWarps = kGroupThreads / 32;
    for (int i = 0; i < kSlots; ++i) barrier(full[i]).init(1), barrier(empty[i]).init(kWarps * kWarpArrivals);
    for (int i = 0; i < kItems; ++i) barrier(q_full[i]).init(1), barrier(q_empty[i]).init(kWarps * kWarpArrivals);
    publish_barriers();
  }
};

struct ReferenceItem {
  int kv_head, q_block;
  int first;  ///< row of the stack
  int count;  ///< rows of the row block from there on; at most kReferenceRows of them are the item's
  ReferenceList list;

  __device__ ReferenceItem(const ReferenceArgs& a, int number)
      : kv_head(number / a.parts / a.work.grid.q_blocks),
        q_block(number / a.parts % a.work.grid.q_blocks),
        list(a.work.grid, q_block, middle_end(a.work.grid, q_block, a.work.local_blocks)) {
    const int rows = a.work.heads.counts[kv_head] * a.work.group_rows, skipped = number % a.parts * kReferenceRows;
    first = q_block * rows + skipped, count = rows - skipped;
  }
  /// None where the KV head has fewer heads with the scan than another.
  __device__ int tiles() const { return count <= 0 ? 0 : (list.count + kReferenceChunks - 1) / kReferenceChunks; }
};

template <int kDim>
class ReferenceProducer {
  using Shared = ReferenceShared<kDim>;

 public:
  __device__ ReferenceProducer(const ReferenceArgs& a, Shared& shared) : a_(a), shared_(shared) {}

  __device__ void run() {
    RingPlace<Shared::kItems> q_place;
    for (int number = blockIdx.x; number < a_.items; number += gridDim.x) {
      const ReferenceItem item(a_, number);
      if (item.tiles() == 0) continue;
      shared_.barrier(shared_.q_empty[q_place.slot]).wait(q_place.parity ^ 1);
      const Barrier full = shared_.barrier(shared_.q_full[q_place.slot]);
      full.arrive_expecting(Shared::kItemBytes);
      copy_box(shared_address(shared_.q[q_place.slot]), a_.q, full, 0, item.first, 0, item.kv_head);
      q_place.advance();
      for (int t = 0; t < item.tiles(); ++t) load_tile(item, t);
    }
  }

 private:
  __device__ void load_tile(const ReferenceItem& item, int t) {
    const DeviceGrid& grid = a_.work.grid;
    shared_.barrier(shared_.empty[place_.slot]).wait(place_.parity ^ 1);
    const Barrier full = shared_.barrier(shared_.full[place_.slot]);
    HopperTile& tile = shared_.tiles[place_.slot];
    bool whole = true;
    for (int i = 0; i < kReferenceChunks; ++i) {
      const int chunk = item.list.chunk(t * kReferenceChunks + i);
      tile.chunks[i] = std::uint16_t(chunk);
      whole = whole && grid.all_visible(grid.q_begin(item.q_block), grid.block_q, chunk * kChunkKeys, kChunkKeys);
    }
    tile.cut = !whole;
    full.arrive_expecting(Shared::kTileBytes);
    for (int i = 0; i < kReferenceChunks; ++i)
      for (int half = 0; half < kDim / 64; ++half)
        copy_box(shared_address(shared_.slots[place_.slot]) + (half * kReferenceKeys + i * kChunkKeys) * 128, a_.k,
                 full, 0, item.list.chunk(t * kReferenceChunks + i) * kChunkKeys, half, item.kv_head);
    place_.advance();
  }

  const ReferenceArgs& a_;
  Shared& shared_;
  RingPlace<Shared::kSlots> place_;
};

template <class T, int kDim>
class ReferenceConsumer {
  using Shared = ReferenceShared<kDim>;

 public:
  __device__ ReferenceConsumer(const ReferenceArgs& a, Shared& shared) : a_(a), shared_(shared) {}

  __device__ void run() {
    RingPlace<Shared::kItems> q_place;
    for (int number = blockIdx.x; number < a_.items; number += gridDim.x) {
      const ReferenceItem item(a_, number);
      if (item.tiles() == 0) continue;
      const int row = int(threadIdx.x) / 32 * 16 + lane_id() / 4;  // the first of the thread's two
      const int tokens[2] = {token_of(item, row), token_of(item, row + 8)};
      ReferenceSum sum;
      shared_.barrier(shared_.q_full[q_place.slot]).wait(q_place.parity);
      for (int t = 0; t < item.tiles(); ++t) {
        shared_.barrier(shared_.full[place_.slot]).wait(place_.parity);
        add_keys(sum, q_place.slot, tokens, t == 0);
        release(shared_.empty[place_.slot]);
        place_.advance();
      }
      release(shared_.q_empty[q_place.slot]);
      q_place.advance();
      RowScore* const rows = a_.work.rows + std::size_t(item.kv_head) * a_.work.stack_rows + item.first;
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const float lse2 = sum.lse2(h);
        if (lane_id() % 4 == 0 && row + 8 * h < item.count) rows[row + 8 * h].offset += lse2;
      }
    }
  }

 private:
  __device__ void release(const std::uint64_t& empty) {
    shared_.barrier(empty).arrive_for_warp();
  }

  /// The last query row that a row of the item is a mean of.
  __device__ int token_of(const ReferenceItem& item, int row) const {
    const PooledWork& w = a_.work;
    const int in_group = (item.first + row) % w.group_rows;
    return min(w.grid.q_len,
               w.grid.q_begin(item.q_block) + in_group * w.scan.row_pool * w.scan.row_stride + w.scan.row_pool) -
           1;
  }

  __device__ void add_keys(ReferenceSum& sum, int item_slot, const int (&tokens)[2], bool first) {
    const std::uint64_t q = matrix_descriptor(shared_address(shared_.q[item_slot]), 0, 1024);
    const std::uint64_t k = matrix_descriptor(shared_address(shared_.slots[place_.slot]), 0, 1024);
    float s[kReferenceKeys / 2];
    fence_products();
    multiply_group<T, false>(s, q, k);
#pragma unroll
    for (int d = 1; d < kDim / 16; ++d)
      multiply_group<T, true>(s, moved(q, d / 4 * kReferenceRows * 128 + d % 4 * 32),
                              moved(k, d / 4 * kReferenceKeys * 128 + d % 4 * 32));
    commit_products();
    wait_products<0>();
    settle(s);
    const HopperTile& tile = shared_.tiles[place_.slot];
    const DeviceGrid& grid = a_.work.grid;
    if (tile.cut) {
      if (grid.windowed || grid.sliding_window > 0)
        hide_scores<true>(s, grid, tokens, tile);
      else
        hide_scores<false>(s, grid, tokens, tile);
    }
    sum.add(s, a_.scale2, first);
  }

  const ReferenceArgs& a_;
  Shared& shared_;
  RingPlace<Shared::kSlots> place_;
};

template <class T, int kDim>
__global__ void __launch_bounds__(kReferenceThreads, kDim == 64 ? 4 : 2)
    pooled_reference_kernel(const __grid_constant__ ReferenceArgs a) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ __align__(1024) char memory[];
  auto& shared = *reinterpret_cast<ReferenceShared<kDim>*>(memory);
  if (threadIdx.x == 0) shared.init();
  __syncthreads();
  if (threadIdx.x < kGroupThreads)
    ReferenceConsumer<T, kDim>(a, shared).run();
  else if (is_elected())
    ReferenceProducer<kDim>(a, shared).run();
#endif
}

}  // namespace salebench::cuda
