// The scan of SALE's middle key blocks with codes of 8 bits on Hopper, the same integers as sale_scan.cu's. A CTA takes
// 256 query rows of a head and tiles of 128 keys; it has a producer and two consumer warpgroups of 128 rows, each in
// two halves of 64 whose votes run beside the products of the other.
#pragma once

#include <climits>

#include "kernels/cuda/hopper/tma.cuh"
#include "kernels/cuda/hopper/wgmma.cuh"
#include "kernels/cuda/select/sale_codes.cuh"
#include "kernels/cuda/select/scan_ring.cuh"

namespace salebench::cuda {

constexpr int kCodeRows = 256;  // of a CTA
constexpr int kCodeKeys = 128;  // of a tile
constexpr int kCodeConsumers = 2;
constexpr int kCodeThreads = (1 + kCodeConsumers) * kGroupThreads;
constexpr int kTurnTiles = 4;  // whose chunks are half a word

struct HopperCodeArgs {
  CUtensorMap q, k;  ///< boxes of kCodeRows rows; of a tile
  CodeScanArgs scan;
};

template <int kDim>
struct CodeShared {
  static constexpr int kSlots = 6;
  struct Tile {
    char codes[kCodeKeys * kDim];  ///< [key][channel]
    float bias[kCodeKeys];
    float scale[kCodeKeys / kChunkKeys][kKeyGroups];
    char padding[1024 - (kCodeKeys + kCodeKeys / kChunkKeys * kKeyGroups) * sizeof(float)];  // codes start at 1024 n
  };
  static constexpr int kTileBytes = offsetof(Tile, padding);

  char q[kCodeRows * kDim];
  Tile tiles[kSlots];
  ScanRing<kSlots> ring;
};

/// What a CTA scans: rows from `row` on, and whole turns of tiles from `begin` on.
struct CodeRange {
  int head, kv_head, row, begin, end = 0;

  /// One KV head after the other, the longest rows first, the heads of a group side by side.
  __device__ explicit CodeRange(const CodeScanArgs& a) {
    const int of_kv_head = blockIdx.x % (a.group * a.row_groups);
    kv_head = blockIdx.x / (a.group * a.row_groups);
    head = kv_head * a.group + of_kv_head % a.group;
    row = (a.row_groups - 1 - of_kv_head / a.group) * kCodeRows;
    if (a.limit[std::size_t(head) * a.grid.q_len + row] == INFINITY) return;  // a dense head
    const int first = row / a.grid.block_q, blocks = kCodeRows / a.grid.block_q;
    const ScanSpan span(a.grid, first, min(a.grid.q_blocks, first + blocks) - 1, a.local_blocks);
    if (span.end == 0) return;
    constexpr int kTurnKeys = kTurnTiles * kCodeKeys;
    begin = span.begin * a.grid.block_k / kTurnKeys * kTurnTiles;
    end = (span.end * a.grid.block_k + kTurnKeys - 1) / kTurnKeys * kTurnTiles;
  }
};

template <int kDim>
__device__ void produce_codes(const HopperCodeArgs& a, CodeShared<kDim>& shared, const CodeRange& range) {
  using Shared = CodeShared<kDim>;
  const Barrier q_full = shared.ring.barrier(shared.ring.q_full);
  q_full.arrive_expecting(sizeof(shared.q));
  copy_box(shared_address(shared.q), a.q, q_full, 0, range.row, 0, range.head);
  RingPlace<Shared::kSlots> place;
  const CodeScanArgs& s = a.scan;
  for (int tile = range.begin; tile < range.end; ++tile) {
    const Barrier full = shared.ring.fill(place, Shared::kTileBytes);
    typename Shared::Tile& to = shared.tiles[place.slot];
    const int key = min(tile * kCodeKeys, s.key_room - kCodeKeys);  // a last turn may go on past the end
    copy_box(shared_address(to.codes), a.k, full, 0, key, 0, range.kv_head);
    copy_bytes(shared_address(to.bias), s.bias + std::size_t(range.head) * s.key_room + key, sizeof(to.bias), full);
    copy_bytes(shared_address(to.scale),
               s.k_scale + (std::size_t(range.kv_head) * s.key_room + key) / kChunkKeys * kKeyGroups, sizeof(to.scale),
               full);
    place.advance();
  }
}

template <int kDim>
class CodeConsumer {
  using Shared = CodeShared<kDim>;
  static constexpr int kChunks = kCodeKeys / kChunkKeys;

 public:
  __device__ CodeConsumer(const HopperCodeArgs& a, Shared& shared, const CodeRange& range)
      : a_(a.scan), shared_(shared), range_(range), group_(__shfl_sync(~0u, int(threadIdx.x) / kGroupThreads - 1, 0)) {}

  __device__ void run() {
    shared_.ring.barrier(shared_.ring.q_full).wait(0);
    if (load_rows())
      scan<true>();
    else
      scan<false>();
  }

 private:
  /// The first of the thread's two rows in a half.
  __device__ int row(int half) const {
    return range_.row + group_ * 128 + half * 64 + int(threadIdx.x) % kGroupThreads / 32 * 16 + lane_id() / 4;
  }

  /// Whether some bias is too large for kMagic.
  __device__ bool load_rows() {
    const DeviceGrid& grid = a_.grid;
    float most = 0;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int q_block = min(grid.q_blocks - 1, row(half) / grid.block_q), shift = tile_shift(grid);
      const bool inside = row(half) - lane_id() / 4 < grid.q_len;  // the warp's first row
      votes_[half] = {a_.bits + (std::size_t(range_.head) * grid.q_blocks + q_block) * grid.words,
                      middle_begin(grid, q_block) << shift,
                      inside ? middle_end(grid, q_block, a_.local_blocks) << shift : 0};
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const bool valid = row(half) + 8 * h < grid.q_len;
        const std::size_t at = std::size_t(range_.head) * grid.q_len + (valid ? row(half) + 8 * h : 0);
        const float scale = a_.q_scale[at];
        inverse_[half][h] = valid && scale > 0 ? 1 / scale : 0.0f;
        limit_[half][h] = !valid             ? INFINITY
                          : scale > 0        ? a_.limit[at] / scale
                          : a_.limit[at] > 0 ? INFINITY
                                             : -INFINITY;
        most = fmaxf(most, inverse_[half][h]);
      }
    }
    return __any_sync(~0u, most * __int_as_float(a_.bias_most[range_.head]) >= kMagicRange);
  }

  template <bool kWide>
  __device__ void scan() {
    int low[64], high[64];  // of the group's first and last 64 rows
    // A turn of tiles: of its votes only the last has no product beside it. No product may be under way where the loop
    // closes, or ptxas makes all of them wait (C7514).
    for (int tile = range_.begin; tile < range_.end; tile += kTurnTiles) {
      int slot = shared_.ring.take(place_);
      start(low, 0, slot);
#pragma unroll
      for (int i = 0; i < kTurnTiles; ++i) {
        start(high, 1, slot);
        wait_products<1>();
        vote<kWide>(low, 0, slot, tile + i);
        const int next = i + 1 < kTurnTiles ? shared_.ring.take(place_) : 0;
        if (i + 1 < kTurnTiles) {
          start(low, 0, next);
          wait_products<1>();
        } else {
          wait_products<0>();
        }
        vote<kWide>(high, 1, slot, tile + i);
        shared_.ring.release(slot);
        slot = next;
      }
      const int end = (tile + kTurnTiles) * kChunks;
      if (end % 32 == 0 || tile + kTurnTiles >= range_.end) finish_word((end - 1) / 32);
    }
  }

  __device__ void start(int (&sum)[64], int half, int slot) {
    settle(sum);
    fence_products();
    const std::uint32_t rows = shared_address(shared_.q) + (group_ * 128 + half * 64) * kDim;
    const std::uint32_t keys = shared_address(shared_.tiles[slot].codes);
    const std::uint64_t q = rows_descriptor<kDim>(rows);
    const std::uint64_t k = rows_descriptor<kDim>(keys);
    multiply_int8_group<false>(sum, q, k);
#pragma unroll
    for (int d = 1; d < kDim / 32; ++d) multiply_int8_group<true>(sum, moved(q, d * 32), moved(k, d * 32));
    commit_products();
  }

  /// A thread's keys of a chunk share their scale, so that the largest integer q . k + rint(bias / q_scale) of a row
  /// decides. Sums that began with the biases, as sale_scan.cu has them, would spare half of the instructions that take
  /// the maximum, but ptxas then finds no registers for them beside the products under way.
  template <bool kWide>
  __device__ void vote(int (&sum)[64], int half, int slot, int tile) {
    settle(sum);
    const typename Shared::Tile& keys = shared_.tiles[slot];
    unsigned reached = 0;
#pragma unroll
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      int most[2] = {INT_MIN, INT_MIN};
#pragma unroll
      for (int n = 0; n < kChunkKeys / 8; ++n) {
        const float2 bias =
            *reinterpret_cast<const float2*>(&keys.bias[chunk * kChunkKeys + 8 * n + lane_id() % 4 * 2]);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float x = i % 2 ? bias.y : bias.x, inverse = inverse_[half][i / 2];
          const int rounded =
              kWide ? __float2int_rn(x * inverse) + kMagicBits : __float_as_int(fmaf(x, inverse, kMagic));
          most[i / 2] = __viaddmax_s32(sum[16 * chunk + 4 * n + i], rounded, most[i / 2]);
        }
      }
      const float scale = keys.scale[chunk][lane_id() % 4];
      bool any = false;
#pragma unroll
      for (int h = 0; h < 2; ++h)
        any |= (kWide ? float(most[h] - kMagicBits) : __int_as_float(most[h]) - kMagic) * scale >= limit_[half][h];
      if (any) reached |= 1u << chunk;
    }
    found_[half] |= reached << (tile * kChunks % 32);
  }

  /// Sets the bits of 32 chunks.
  __device__ void finish_word(int word) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      keep_found(votes_[half].bits, tile_shift(a_.grid), votes_[half].begin, votes_[half].end, word, found_[half]);
      found_[half] = 0;
    }
  }

  const CodeScanArgs& a_;
  Shared& shared_;
  const CodeRange range_;
  const int group_;
  RingPlace<Shared::kSlots> place_;
  float inverse_[2][2], limit_[2][2];  // [half][h]: 1 / q_scale, limit / q_scale
  unsigned found_[2] = {};             // chunks of the word under way
  struct {
    std::uint32_t* bits;  // row of the mask
    int begin, end;       // chunks that count
  } votes_[2];            // [half] of the warp's 16 rows
};

template <int kDim>
__global__ void __launch_bounds__(kCodeThreads, 1) sale_scan_kernel(const __grid_constant__ HopperCodeArgs a) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ __align__(1024) char memory[];
  auto& shared = *reinterpret_cast<CodeShared<kDim>*>(memory);
  const CodeRange range(a.scan);
  if (range.end == 0) return;
  if (threadIdx.x == 0) shared.ring.init(kCodeConsumers * 4);
  __syncthreads();
  if (threadIdx.x < kGroupThreads) {
    give_registers<24>();
    if (threadIdx.x < 32 && is_elected()) produce_codes(a, shared, range);
  } else {
    take_registers<240>();
    CodeConsumer<kDim>(a, shared, range).run();
  }
#endif
}

}  // namespace salebench::cuda
