// The scan of pooled SALE on Hopper: products of 256 stacked rows with tiles of 128 pooled keys, and their vote. A CTA
// has a producer and two consumer warpgroups of 128 rows, each in two halves of 64 whose votes run beside the products
// of the other.
#pragma once

#include "kernels/cuda/hopper/tma.cuh"
#include "kernels/cuda/hopper/wgmma.cuh"
#include "kernels/cuda/select/pooled.cuh"
#include "kernels/cuda/select/pooled_votes.cuh"
#include "kernels/cuda/select/scan_ring.cuh"

namespace salebench::cuda {

constexpr int kScanConsumers = 2;
constexpr int kScanThreads = (1 + kScanConsumers) * kGroupThreads;

struct ScanArgs {
  CUtensorMap q, k;  ///< boxes of kStackRows rows; of a tile
  PooledWork work;
  const RowScore* rows;
  std::uint32_t* bits;
  int kv_heads, stacks;  ///< stacks: kStackRows rows each, of a KV head
};

/// Where 16 rows of the stack vote: a row of the mask, the chunks that count, and the mass that is enough.
struct Votes {
  std::uint32_t* bits;
  int begin, end;
  float enough;
};

template <bool kFp8, int kDim>
struct ScanShared {
  static constexpr int kRowBytes = kDim * (kFp8 ? 1 : 2);
  static constexpr int kSlots = 4, kTileBytes = kScannedKeys * kRowBytes;

  char q[kStackRows * kRowBytes];
  char slots[kSlots][kTileBytes];
  Votes votes[kStackRows / 16];
  float sums[2][kScanConsumers][8][32];  ///< of words in turn: of 16 rows, by chunk
  ScanRing<kSlots> ring;
  std::uint64_t q_full;
};

/// What a CTA scans: rows of a KV head's stack, and an even number of tiles from `begin` on.
struct ScanRange {
  int kv_head, stack, begin, end = 0;

  __device__ ScanRange(const ScanArgs& a)
      : kv_head(blockIdx.x % a.kv_heads), stack(a.stacks - 1 - blockIdx.x / a.kv_heads) {  // the longest first
    const PooledWork& w = a.work;
    const int heads = w.heads.counts[kv_head], groups = kStackRows / w.group_rows;
    if (heads == 0 || stack * groups >= heads * w.grid.q_blocks) return;
    const int last = min((stack + 1) * groups, heads * w.grid.q_blocks) - 1;
    const ScanSpan span(w.grid, stack * groups / heads, last / heads, w.local_blocks);
    if (span.end == 0) return;
    const int keys_a_tile = kScannedKeys * w.scan.key_pool;
    begin = span.begin * w.grid.block_k / keys_a_tile / 2 * 2;
    end = begin + ((span.end * w.grid.block_k + keys_a_tile - 1) / keys_a_tile - begin + 1) / 2 * 2;
  }
};

template <bool kFp8, int kDim>
__device__ void produce_tiles(const ScanArgs& a, ScanShared<kFp8, kDim>& shared, const ScanRange& range) {
  using Memory = ScanShared<kFp8, kDim>;
  const Barrier q_full = shared.ring.barrier(shared.q_full);
  q_full.arrive_expecting(sizeof(shared.q));
  copy_box(shared_address(shared.q), a.q, q_full, 0, range.stack * kStackRows, 0, range.kv_head);
  RingPlace<Memory::kSlots> place;
  for (int tile = range.begin; tile < range.end; ++tile) {
    const Barrier full = shared.ring.fill(place, Memory::kTileBytes);
    copy_box(shared_address(shared.slots[place.slot]), a.k, full, 0, tile * kScannedKeys, 0, range.kv_head);
    place.advance();
  }
}

template <bool kFp8, int kDim, int kPool, bool kMass>
class ScanConsumer {
  using Memory = ScanShared<kFp8, kDim>;
  using Products = std::conditional_t<kFp8, std::uint32_t[32], float[64]>;
  static constexpr int kChunks = 4 * kPool;  // of a tile

 public:
  __device__ ScanConsumer(const ScanArgs& a, Memory& shared, const ScanRange& range)
      : a_(a), shared_(shared), range_(range), group_(__shfl_sync(~0u, int(threadIdx.x) / kGroupThreads - 1, 0)) {}

  __device__ void run() {
    load_rows();
    if (lane_id() < 2) shared_.votes[vote_of(lane_id())] = make_votes(vote_of(lane_id()));
    __syncwarp();  // without mass a warp needs its own alone, with mass others are waited for first
    shared_.ring.barrier(shared_.q_full).wait(0);
    Products low, high;  // of the group's first and last 64 rows
    // Two tiles a turn: of four votes only the last has no product beside it. No product may be under way where the
    // loop closes, or ptxas makes all of them wait (C7514).
    for (int tile = range_.begin; tile < range_.end; tile += 2) {
      const int slots[2] = {shared_.ring.take(place_), shared_.ring.take(place_)};
      multiply(low, 0, slots[0]);
      multiply(high, 1, slots[0]);
      wait_products<1>();
      vote(low, 0, tile);
      multiply(low, 0, slots[1]);
      wait_products<1>();
      shared_.ring.release(slots[0]);
      vote(high, 1, tile);
      multiply(high, 1, slots[1]);
      wait_products<1>();
      vote(low, 0, tile + 1);
      wait_products<0>();
      shared_.ring.release(slots[1]);
      vote(high, 1, tile + 1);
      const int end = (tile + 2) * kChunks;
      if (end % 32 == 0 || tile + 2 >= range_.end) finish_word((end - 1) / 32);
    }
  }

 private:
  /// Of the four rows of the thread, [half][h].
  __device__ void load_rows() {
    const RowScore* const rows = a_.rows + std::size_t(range_.kv_head) * a_.work.stack_rows +
                                 range_.stack * kStackRows + group_ * 128 + warp() * 16 + lane_id() / 4;
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const RowScore row = rows[half * 64 + h * 8];
        if (kMass) factor_[half][h] = PairExponential::factor(row.factor);
        offset_[half][h] = kMass ? PairExponential::offset(row.offset) : row.offset / fmaxf(row.factor, 1e-37f);
      }
  }

  __device__ static int warp() {
    return threadIdx.x % kGroupThreads / 32;
  }

  __device__ void multiply(Products& products, int half, int slot) {
    const std::uint32_t rows = shared_address(shared_.q), keys = shared_address(shared_.slots[slot]);
    const int first = group_ * 128 + half * 64;
    settle(products);
    fence_products();
    if constexpr (kFp8) {
      const std::uint64_t q = rows_descriptor<kDim>(rows + first * kDim);
      const std::uint64_t k = rows_descriptor<kDim>(keys);
      multiply_fp8_group<false>(products, q, k);
#pragma unroll
      for (int d = 1; d < kDim / 32; ++d) multiply_fp8_group<true>(products, moved(q, d * 32), moved(k, d * 32));
    } else {
      std::uint32_t row = rows + first * 128;
      asm volatile("" : "+r"(row));  // or ptxas keeps eight descriptors of queries at hand, and spills
      const std::uint64_t q = matrix_descriptor(row, 0, 1024), k = matrix_descriptor(keys, 0, 1024);
      multiply_group<__half, false>(products, q, k);
#pragma unroll
      for (int d = 1; d < kDim / 16; ++d)
        multiply_group<__half, true>(products, moved(q, d / 4 * kStackRows * 128 + d % 4 * 32),
                                     moved(k, d / 4 * kScannedKeys * 128 + d % 4 * 32));
    }
    commit_products();
  }

  __device__ void vote(Products& products, int half, int tile) {
    settle(products);
    const int chunk = tile * kChunks % 32;
    if constexpr (kMass) {
      std::uint32_t sums[2 * kPool];
      sum_chunks<kPool>(products, factor_[half], offset_[half], sums);
      sum_over_lanes<2 * kPool>(sums);
      constexpr int kLanes = 16 / kPool;  // that hold the same pair
      if (lane_id() % kLanes == 0)
        *reinterpret_cast<float2*>(
            &shared_.sums[words_ % 2][group_][half * 4 + warp()][chunk + lane_id() / kLanes * 2]) =
            __half22float2(pair_of(sums[0]));
    } else {
      found_[half] |= reached_chunks<kPool>(products, offset_[half]) << chunk;
    }
  }

  /// The rows of the warp in a half, as a number of 16 rows.
  __device__ int vote_of(int half) const {
    return group_ * 8 + half * 4 + warp();
  }

  __device__ Votes make_votes(int number) const {
    const PooledWork& w = a_.work;
    const int group = (range_.stack * kStackRows + number * 16) / w.group_rows;
    const int heads = w.heads.counts[range_.kv_head], q_block = group / heads;
    if (q_block >= w.grid.q_blocks) return {a_.bits, 0, 0, INFINITY};
    const int head = w.heads.of_kv_head[range_.kv_head * w.heads.most + group % heads], shift = tile_shift(w.grid);
    const int pool = w.scan.row_pool * w.scan.row_stride;
    const int rows = (w.grid.q_end(q_block) - w.grid.q_begin(q_block) + pool - 1) / pool;
    return {a_.bits + (std::size_t(head) * w.grid.q_blocks + q_block) * w.grid.words,
            middle_begin(w.grid, q_block) << shift, middle_end(w.grid, q_block, w.local_blocks) << shift,
            float(rows) / float(w.scan.key_pool)};
  }

  __device__ void keep(const Votes& votes, int word, unsigned found) {
    keep_found(votes.bits, tile_shift(a_.work.grid), votes.begin, votes.end, word, found);
  }

  /// Sets the bits of 32 chunks.
  __device__ void finish_word(int word) {
    if constexpr (kMass) {
      // The sums of a word are read while those of the next are written elsewhere; a warp gets no further than that.
      asm volatile("bar.sync %0, %1;" ::"r"(1 + group_), "n"(kGroupThreads) : "memory");
      const int tiles = a_.work.group_rows / 16;  // of 16 rows, in a group
      for (int first = warp() * tiles; first < 8; first += 4 * tiles) {
        float sum = 0;
        for (int i = first; i < first + tiles; ++i) sum += shared_.sums[words_ % 2][group_][i][lane_id()];
        for (int step = 1; step < 1 << tile_shift(a_.work.grid); step *= 2) sum += __shfl_xor_sync(~0u, sum, step);
        const Votes& votes = shared_.votes[group_ * 8 + first];
        keep(votes, word, unsigned(sum >= votes.enough) << lane_id());
      }
      ++words_;
    } else {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        keep(shared_.votes[vote_of(half)], word, found_[half]);
        found_[half] = 0;
      }
    }
  }

  const ScanArgs& a_;
  Memory& shared_;
  const ScanRange range_;
  const int group_;
  RingPlace<Memory::kSlots> place_;
  float factor_[2][2], offset_[2][2];  // [half][h]; without mass the offset is the limit of a product
  unsigned found_[2] = {};             // chunks of the word under way
  int words_ = 0;
};

template <bool kFp8, int kDim, int kPool, bool kMass>
__global__ void __launch_bounds__(kScanThreads, kFp8 ? 2 : 1) scan_pooled_kernel(const __grid_constant__ ScanArgs a) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ __align__(1024) char memory[];
  auto& shared = *reinterpret_cast<ScanShared<kFp8, kDim>*>(memory);
  const ScanRange range(a);
  if (range.end == 0) return;
  if (threadIdx.x == 0) {
    shared.ring.barrier(shared.q_full).init(1);
    shared.ring.init(kScanConsumers * 4);  // makes both known to bulk copies
  }
  __syncthreads();
  if (threadIdx.x < kGroupThreads) {
    give_registers<24>();
    if (threadIdx.x < 32 && is_elected()) produce_tiles(a, shared, range);
  } else {
    take_registers<kFp8 ? 104 : 232>();
    ScanConsumer<kFp8, kDim, kPool, kMass>(a, shared, range).run();
  }
#endif
}

}  // namespace salebench::cuda
