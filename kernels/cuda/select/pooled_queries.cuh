// Pooled queries with their reference: the log-sum-exp of each row over its sink and local keys, on Hopper's tensor
// cores. A CTA takes a row block of the heads of a KV head, in units of 64 rows, which its two consumer warpgroups take
// in turn; where its keys fit the ring of slots, they stay there for all heads.
#pragma once

#include "kernels/cuda/attention/hopper_scores.cuh"
#include "kernels/cuda/hopper/tma.cuh"
#include "kernels/cuda/hopper/wgmma.cuh"
#include "kernels/cuda/select/pooled.cuh"

namespace salebench::cuda {

constexpr int kUnitRows = 64;
constexpr int kQueryConsumers = 2;
constexpr int kQueriesThreads = kQueryConsumers * kGroupThreads + 32;  // the last warp is the producer

struct QueriesArgs {
  CUtensorMap q, k;  ///< boxes of a unit's rows; of one 64 channels of a chunk
  DeviceGrid grid;
  int local_blocks;
  PooledInputs in;
  int items;     ///< KV heads x row blocks
  float scale2;  ///< scale * log2(e)
};

template <int kDim>
struct QueriesShared {
  static constexpr int kSlots = 2, kUnits = 3;
  static constexpr int kTileBytes = kTileKeys * kDim * 2, kUnitBytes = kUnitRows * kDim * 2;

  char q[kUnits][kUnitBytes];      ///< [half][row][64]
  char slots[kSlots][kTileBytes];  ///< [half][key][64]
  HopperTile tiles[kSlots];
  float lse2[kQueryConsumers][kUnitRows];  ///< log-sum-exp of base 2 of a unit's rows
  std::uint64_t full[kSlots], empty[kSlots], q_full[kUnits], q_empty[kUnits];

  __device__ static Barrier barrier(const std::uint64_t& b) { return {shared_address(&b)}; }
  __device__ void init() {
    constexpr int kWarps = kGroupThreads / 32;
    for (int i = 0; i < kSlots; ++i) barrier(full[i]).init(1), barrier(empty[i]).init(kQueryConsumers * kWarps);
    for (int i = 0; i < kUnits; ++i) barrier(q_full[i]).init(1), barrier(q_empty[i]).init(kWarps);
    publish_barriers();
  }
};

/// A KV head and a row block: units of 64 rows of the heads that are scanned, and the tiles of keys that they need.
/// Consumer c takes unit 2 r + c in round r, if there is one.
struct QueriesItem {
  int kv_head, q_block, heads, halves, units, tiles;
  bool resident;  ///< the tiles stay in their slots for all units
  ReferenceList list;

  __device__ QueriesItem(const QueriesArgs& a, int number, int slots)
      : kv_head(number / a.grid.q_blocks),
        q_block(number % a.grid.q_blocks),
        heads(a.in.scanned.counts[kv_head]),
        halves(a.grid.block_q / kUnitRows),
        units(heads * halves),
        list(a.grid, q_block, middle_end(a.grid, q_block, a.local_blocks)) {
    tiles = (list.count + kTileChunks - 1) / kTileChunks;
    resident = tiles <= slots;
  }
  __device__ int rounds() const { return (units + kQueryConsumers - 1) / kQueryConsumers; }
  __device__ bool loads(int round) const { return round == 0 || !resident; }
  __device__ bool releases(int round) const { return round == rounds() - 1 || !resident; }
  __device__ int head_of(int unit) const { return halves == 2 ? unit / 2 : unit; }  // its place among the heads
  __device__ int half_of(int unit) const { return halves == 2 ? unit % 2 : 0; }
  __device__ int first_row(int unit) const { return (q_block * halves + half_of(unit)) * kUnitRows; }
  __device__ int query_head(const QueriesArgs& a, int unit) const {
    return a.in.scanned.of_kv_head[kv_head * a.in.scanned.most + head_of(unit)];
  }
};

template <int kDim>
class QueriesProducer {
  using Shared = QueriesShared<kDim>;

 public:
  __device__ QueriesProducer(const QueriesArgs& a, Shared& shared) : a_(a), shared_(shared) {}

  __device__ void run() {
    for (int number = blockIdx.x; number < a_.items; number += gridDim.x) {
      const QueriesItem item(a_, number, Shared::kSlots);
      for (int round = 0; round < item.rounds(); ++round) {
        for (int i = 0; i < kQueryConsumers && round * kQueryConsumers + i < item.units; ++i)
          load_unit(item, round * kQueryConsumers + i);
        for (int t = 0; t < item.tiles && item.loads(round); ++t) load_tile(item, t);
      }
    }
  }

 private:
  __device__ void load_unit(const QueriesItem& item, int unit) {
    shared_.barrier(shared_.q_empty[q_place_.slot]).wait(q_place_.parity ^ 1);
    const Barrier full = shared_.barrier(shared_.q_full[q_place_.slot]);
    full.arrive_expecting(Shared::kUnitBytes);
    copy_box(shared_address(shared_.q[q_place_.slot]), a_.q, full, 0, item.first_row(unit), 0,
             item.query_head(a_, unit));
    q_place_.advance();
  }

  __device__ void load_tile(const QueriesItem& item, int t) {
    const DeviceGrid& grid = a_.grid;
    shared_.barrier(shared_.empty[place_.slot]).wait(place_.parity ^ 1);
    const Barrier full = shared_.barrier(shared_.full[place_.slot]);
    HopperTile& tile = shared_.tiles[place_.slot];
    bool whole = true;
    for (int i = 0; i < kTileChunks; ++i) {
      const int chunk = item.list.chunk(t * kTileChunks + i);
      tile.chunks[i] = std::uint16_t(chunk);
      whole = whole && grid.all_visible(grid.q_begin(item.q_block), grid.block_q, chunk * kChunkKeys, kChunkKeys);
    }
    tile.cut = !whole;
    full.arrive_expecting(Shared::kTileBytes);
    for (int i = 0; i < kTileChunks; ++i)
      for (int half = 0; half < kDim / 64; ++half)
        copy_box(shared_address(shared_.slots[place_.slot]) + (half * kTileKeys + i * kChunkKeys) * 128, a_.k, full, 0,
                 item.list.chunk(t * kTileChunks + i) * kChunkKeys, half, item.kv_head);
    place_.advance();
  }

  const QueriesArgs& a_;
  Shared& shared_;
  RingPlace<Shared::kSlots> place_;
  RingPlace<Shared::kUnits> q_place_;
};

template <class T, int kDim>
class QueriesConsumer {
  using Shared = QueriesShared<kDim>;
  static constexpr int kParts = kDim / 8;  // threads of a pooled row
  static constexpr int kRowsAtATime = kGroupThreads / kParts;

 public:
  __device__ QueriesConsumer(const QueriesArgs& a, Shared& shared)
      : a_(a), shared_(shared), group_(__shfl_sync(~0u, int(threadIdx.x) / kGroupThreads, 0)) {}

  __device__ void run() {
    int before = 0;  // units of the items before
    for (int number = blockIdx.x; number < a_.items; number += gridDim.x) {
      const QueriesItem item(a_, number, Shared::kSlots);
      const RingPlace<Shared::kSlots> first = place_;
      for (int round = 0; round < item.rounds(); ++round) {
        if (item.resident) place_ = first;
        const int unit = round * kQueryConsumers + group_;
        const bool busy = unit < item.units;
        q_slot_ = (before + unit) % Shared::kUnits;
        if (busy) shared_.barrier(shared_.q_full[q_slot_]).wait((before + unit) / Shared::kUnits % 2);
        HopperSoftmax softmax;
        for (int t = 0; t < item.tiles; ++t) {
          if (item.loads(round)) shared_.barrier(shared_.full[place_.slot]).wait(place_.parity);
          if (busy) add_tile(softmax, item.first_row(unit));
          if (item.releases(round)) release(shared_.empty[place_.slot]);
          place_.advance();
        }
        if (!busy) continue;
        store_lse(softmax);
        const HeadRows& to = a_.in.head_rows[item.query_head(a_, unit)];
        switch (to.row_pool) {
          case 1:
            pool<1>(item, unit, to);
            break;
          case 2:
            pool<2>(item, unit, to);
            break;
          case 4:
            pool<4>(item, unit, to);
            break;
          default:
            pool<8>(item, unit, to);
        }
        release(shared_.q_empty[q_slot_]);
      }
      before += item.units;
    }
  }

 private:
  __device__ void release(const std::uint64_t& empty) {
    __syncwarp();  // what the other lanes read comes before the arrival
    if (lane_id() == 0) shared_.barrier(empty).arrive();
  }
  __device__ void group_sync() { asm volatile("bar.sync %0, %1;" ::"r"(1 + group_), "n"(kGroupThreads) : "memory"); }
  __device__ static int warp_row() { return threadIdx.x % kGroupThreads / 32 * 16 + lane_id() / 4; }

  __device__ void add_tile(HopperSoftmax& softmax, int first_row) {
    const std::uint64_t q = matrix_descriptor(shared_address(shared_.q[q_slot_]), 0, 1024);
    const std::uint64_t k = matrix_descriptor(shared_address(shared_.slots[place_.slot]), 0, 1024);
    float s[kScores];
    fence_products();
    multiply_group<T, false>(s, q, k);
#pragma unroll
    for (int d = 1; d < kDim / 16; ++d)
      multiply_group<T, true>(s, moved(q, d / 4 * kUnitRows * 128 + d % 4 * 32),
                              moved(k, d / 4 * kTileKeys * 128 + d % 4 * 32));
    commit_products();
    wait_products<0>();
    settle(s);
    const HopperTile& tile = shared_.tiles[place_.slot];
    const DeviceGrid& grid = a_.grid;
    if (tile.cut) {
      if (grid.windowed || grid.sliding_window > 0)
        hide_scores<true>(s, grid, first_row + warp_row(), tile);
      else
        hide_scores<false>(s, grid, first_row + warp_row(), tile);
    }
    float rescale[2];
    softmax.raise(s, a_.scale2, rescale);
    softmax.weigh(s, a_.scale2);
  }

  __device__ void store_lse(const HopperSoftmax& softmax) {
    group_sync();  // nobody reads those of the unit before any more
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const float sum = row_sum(softmax.sum[h]);
      if (lane_id() % 4 == 0) shared_.lse2[group_][warp_row() + 8 * h] = softmax.base[h] + __log2f(sum);
    }
    group_sync();
  }

  /// The unit's rows to pooled ones, of which every row_stride-th is stored. Rows past the end are zeros.
  template <int kPool>
  __device__ void pool(const QueriesItem& item, int unit, const HeadRows& to) {
    const int part = threadIdx.x % kParts, stride = to.row_stride;
    const int stored = to.group_rows >> (item.halves == 2), left = a_.grid.q_len - item.first_row(unit);
    const int first = (item.q_block * to.heads + to.place) * to.group_rows + item.half_of(unit) * stored;
    const float log2_threshold = a_.in.log2_thresholds[item.query_head(a_, unit)];
    const float unit_k = code_unit(a_.in.k_deviation[item.kv_head]);
    const auto* const mean = reinterpret_cast<const float4*>(a_.in.k_mean + item.kv_head * kDim) + 2 * part;
    const float4 low = mean[0], high = mean[1];
    const char* const column = shared_.q[q_slot_] + part / 8 * kUnitRows * 128;
    for (int begin = 0; begin < stored; begin += kRowsAtATime) {
      const int r = begin + int(threadIdx.x) % kGroupThreads / kParts, row = min(r, stored - 1) * kPool * stride;
      float x[8] = {}, lse2 = 0;
#pragma unroll
      for (int i = 0; i < kPool; ++i) {
        add_eight<T>(x, *reinterpret_cast<const uint4*>(column + swizzle<128>(row + i, part % 8)));
        lse2 += row + i < left ? shared_.lse2[group_][row + i] : 0.0f;
      }
      const float inverse_count = 1.0f / float(max(1, min(kPool, left - row)));
      float most = 0, dot = x[0] * low.x + x[1] * low.y + x[2] * low.z + x[3] * low.w + x[4] * high.x + x[5] * high.y +
                            x[6] * high.z + x[7] * high.w;
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        x[i] *= inverse_count;
        most = fmaxf(most, fabsf(x[i]));
      }
#pragma unroll
      for (int step = 1; step < kParts; step *= 2) {
        most = fmaxf(most, __shfl_xor_sync(~0u, most, step));
        dot += __shfl_xor_sync(~0u, dot, step);
      }
      if (r >= stored) continue;
      const float unit_q = code_unit(most);
      if (to.fp8)
        store_codes<true>(static_cast<char*>(to.q) + std::size_t(first + r) * kDim, part, x, 1 / unit_q);
      else
        store_codes<false>(static_cast<char*>(to.q) + std::size_t(first + r) * kDim * 2, part, x, 1 / unit_q);
      if (part == 0)
        to.rows[first + r] = row < left ? RowScore{unit_q * unit_k * a_.scale2,
                                                   (lse2 - dot * a_.scale2) * inverse_count + log2_threshold}
                                        : RowScore{1, INFINITY};
    }
  }

  const QueriesArgs& a_;
  Shared& shared_;
  const int group_;
  RingPlace<Shared::kSlots> place_;
  int q_slot_ = 0;
};

template <class T, int kDim>
__global__ void __launch_bounds__(kQueriesThreads, 2) pool_queries_kernel(const __grid_constant__ QueriesArgs a) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ __align__(1024) char memory[];
  auto& shared = *reinterpret_cast<QueriesShared<kDim>*>(memory);
  if (threadIdx.x == 0) shared.init();
  __syncthreads();
  if (threadIdx.x < kQueryConsumers * kGroupThreads)
    QueriesConsumer<T, kDim>(a, shared).run();
  else if (is_elected())
    QueriesProducer<kDim>(a, shared).run();
#endif
}

}  // namespace salebench::cuda
