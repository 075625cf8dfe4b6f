// What consumers of Hopper's attention kernel share: their places in rings and work, and the writing of rows.
#pragma once

#include "kernels/cuda/attention/hopper_shared.cuh"
#include "kernels/cuda/hopper/wgmma.cuh"

namespace salebench::cuda {

/// Exchanges words among the lanes of a quad: word i of lane j becomes word j of lane i.
__device__ inline void transpose_quad(std::uint32_t (&w)[4]) {
#pragma unroll
  for (int bit = 1; bit <= 2; bit *= 2)
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      std::uint32_t &low = w[bit == 1 ? 2 * i : i], &high = w[bit == 1 ? 2 * i + 1 : i + 2];
      const bool upper = threadIdx.x & bit;
      const std::uint32_t other = __shfl_xor_sync(~0u, upper ? low : high, bit);
      (upper ? low : high) = other;
    }
}

/// Divides by the row sums and writes a thread's part of two rows, of which the first is `row`. A row's log-sum-exp
/// gets shift[row] more, unless that is null.
template <class T, int kDim, class Softmax>
__device__ inline void write_rows(const HopperArgs& a, int head, int row, const float (&o)[kDim / 2],
                                  const Softmax& state, const float* shift) {
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const int r = row + 8 * h;
    const float sum = row_sum(state.sum[h]), inverse = sum > 0 ? 1 / sum : 0.0f;
    const std::size_t at = std::size_t(head) * a.grid.q_len + r;
    const bool inside = r < a.grid.q_len;
    if (inside && a.lse && lane_id() % 4 == 0)
      a.lse[at] = sum > 0 ? (state.base[h] + __log2f(sum)) * 0.69314718056f + (shift ? shift[r] : 0.0f) : -INFINITY;
#pragma unroll
    for (int part = 0; part < kDim / 32; ++part) {  // 32 channels of a row: after the exchange 8 neighbours a lane
      std::uint32_t words[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float* const pair = o + 4 * (4 * part + i) + 2 * h;
        words[i] = pack<T>(pair[0] * inverse, pair[1] * inverse);
      }
      transpose_quad(words);
      if (inside && a.output)
        __stcs(reinterpret_cast<uint4*>(static_cast<T*>(a.output) + at * kDim + 32 * part + lane_id() % 4 * 8),
               uint4{words[0], words[1], words[2], words[3]});
    }
  }
}

/// A consumer's place in the rings and in the work of its team.
template <class Shared, bool kTurns>
class HopperConsumerBase {
 public:
  /// `group` is the consumer's number within its team.
  __device__ HopperConsumerBase(const HopperArgs& a, Shared& shared, int group)
      : a_(a), shared_(shared), group_(group) {}

 protected:
  /// Takes all turns there are, by turn(plain, first, last) of which the first says, as a type, whether each row sees
  /// the whole tile and it is not the first of an item, in whose turn the item before ends; the others whether it is an
  /// item's first or last. What it returns is HopperTile::next_is_whole of its tile. Plain turns have a loop of their
  /// own, without branches: registers then stay where the products have them. The very last turn has no tile.
  template <class Turn>
  __device__ __forceinline__ void take_turns(const Turn& turn) {
    int left = 0;
    begin_turns();
    do {
      const bool first = agreed(left == 0);
      if (first) left = next_item();
      bool plain = turn(std::false_type(), first, left-- == 1) && item_.tiles > 0;
      while (agreed(plain)) plain = turn(std::true_type(), false, left-- == 1);
    } while (agreed(item_.tiles > 0));
    end_turns();
  }

  /// In the first turn of an item: writes O of the item before by finish(), if there is one, and begins it anew.
  template <int kCount, class Finish>
  __device__ __forceinline__ void renew_output(float (&o)[kCount], const Finish& finish) {
    settle(o);  // here and below: else ptxas moves O to other registers, and all of them spill
    if (old_.tiles > 0) finish();
    settle(o);
#pragma unroll
    for (float& x : o) x = 0;
  }

  /// The first of the thread's two rows; the other is 8 rows on.
  __device__ int row(const HopperItem& item) const {
    return item.q_block * Shared::kRows + row_of_item();
  }
  __device__ int row_of_item() const {
    return kGroupRows * group_ + threadIdx.x % kGroupThreads / 32 * 16 + lane_id() / 4;
  }

  /// Goes on to the next item, once its queries are there; returns how many turns it takes.
  __device__ int next_item() {
    old_ = item_;
    queries_ = q_place_.slot;
    shared_.barrier(shared_.q_full[queries_]).wait(q_place_.parity);  // the item came before
    q_place_.advance();
    item_ = shared_.items[item_place_.slot];
    release(shared_.item_empty[item_place_.slot]);
    item_place_.advance();
    return max(1, item_.tiles);
  }
  __device__ void release_queries(bool really) {
    shared_.barrier(shared_.q_empty[queries_]).arrive_for_warp(really);
  }

  /// Where kTurns, two consumers of a team issue their products in turn, so that those of one run beside the other's
  /// softmax and not beside its products (FlashAttention-3, section 3.1): begin_turns() first, then await_turn() and
  /// pass_turn() around them, as often in both, and end_turns().
  __device__ void await_turn() {
    if constexpr (kTakesTurns) asm volatile("bar.sync %0, 256;" ::"r"(1 + group_) : "memory");
  }
  __device__ void pass_turn() {
    if constexpr (kTakesTurns) asm volatile("bar.arrive %0, 256;" ::"r"(2 - group_) : "memory");
  }
  __device__ void begin_turns() {
    if (group_ == 1) pass_turn();
  }
  __device__ void end_turns() {
    if (group_ == 0) await_turn();
  }

  __device__ void release(const std::uint64_t& empty) {
    shared_.barrier(empty).arrive_for_warp();
  }
  /// The next slot of the ring, once it is full.
  __device__ int take_slot() {
    const int slot = place_.slot;
    shared_.barrier(shared_.full[slot]).wait(place_.parity);
    place_.advance();
    return slot;
  }

  /// Hides the scores of keys that a row does not see.
  __device__ void hide(float (&s)[kScores], const HopperTile& tile) const {
    const int rows[2] = {row(item_), row(item_) + 8};
    if (a_.grid.windowed || a_.grid.sliding_window > 0)
      hide_scores<true>(s, a_.grid, rows, tile);
    else
      hide_scores<false>(s, a_.grid, rows, tile);
  }

  const HopperArgs& a_;
  Shared& shared_;
  const int group_;
  HopperItem item_{}, old_{};
  int queries_ = 0;

 private:
  static constexpr bool kTakesTurns = kTurns && Shared::kTeams == 1;

  RingPlace<Shared::kSlots> place_;
  RingPlace<Shared::kQueries> q_place_;
  RingPlace<Shared::kItems> item_place_;
};

/// Begins o += p v of a tile's weights and 16-bit values, in shared memory [key / 8][half][8][64].
template <class T, int kCount>
__device__ __forceinline__ void multiply_values(float (&o)[kCount], const std::uint32_t (&p)[kTileKeys / 16][4],
                                                std::uint32_t values) {
  constexpr int kUnit = 1024, kDown = kCount / 32 * kUnit;  // 8 rows x 128 bytes
  const std::uint64_t v = matrix_descriptor(values, kUnit, kDown);
  fence_products();
#pragma unroll
  for (int k = 0; k < kTileKeys / 16; ++k) multiply_group<T, true>(o, p[k], moved(v, k * 2 * kDown));
  commit_products();
}
template <class T>
__device__ __forceinline__ void pack_weights(std::uint32_t (&p)[kTileKeys / 16][4], const float (&weights)[kScores]) {
#pragma unroll
  for (int i = 0; i < kScores / 2; ++i) p[i / 4][i % 4] = pack<T>(weights[2 * i], weights[2 * i + 1]);
}

/// Multiplies O by what its rows' earlier weights shrink by.
template <int kCount>
__device__ inline void scale_output(float (&o)[kCount], const float (&rescale)[2]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) o[i] *= rescale[i / 2 % 2];
}

}  // namespace salebench::cuda
