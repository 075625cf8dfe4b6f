// Attention on Hopper's tensor cores; attention.h says what it computes. A persistent CTA has two consumer warpgroups
// of 64 query rows each. Where tiles of the mask have 128 rows they are a team, which shares what its producer loads;
// where they have 64, each is a team of its own. A tile is 128 keys, gathered by TMA from four listed chunks. Within a
// consumer the product with V of one tile is issued after the scores of the next, whichever item that belongs to, and
// runs during the softmax of those (FlashAttention-3, arXiv 2407.08608, section 3.2). The consumers need not be made to
// take turns, as they are there (3.1): it changed nothing.
#pragma once

#include "kernels/cuda/attention/hopper_work.cuh"
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

/// Divides by the row sums and writes a thread's part of two rows, of which the first is `row`.
template <class T, int kDim, class Softmax>
__device__ inline void write_rows(const HopperArgs& a, int head, int row, const float (&o)[kDim / 2],
                                  const Softmax& state) {
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const int r = row + 8 * h;
    const float sum = row_sum(state.sum[h]), inverse = sum > 0 ? 1 / sum : 0.0f;
    const std::size_t at = std::size_t(head) * a.grid.q_len + r;
    const bool inside = r < a.grid.q_len;
    if (inside && a.lse && lane_id() % 4 == 0)
      a.lse[at] = sum > 0 ? (state.base[h] + __log2f(sum)) * 0.69314718056f : -INFINITY;
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

/// A condition that all lanes agree on. Branches on it leave registers uniform, as slots and descriptors must be: a
/// shuffle that makes them so waits for its turn at the shared memory, which products keep busy.
__device__ inline bool agreed(bool condition) {
  return __any_sync(~0u, condition);
}

/// kSafe looks for larger scores in each tile; otherwise only an item's first tiles and those with hidden keys do, and
/// an item whose sums went out of bounds is listed, for a second kernel that is safe.
template <class T, int kDim, int kGroups, bool kSafe>
class HopperConsumer {
  using Shared = HopperShared<kDim, kGroups>;
  using Softmax = HopperSoftmax<kSafe ? 0 : 32>;
  static constexpr int kHalves = kDim / 64, kUnit = 1024, kDown = kHalves * kUnit;  // 8 rows x 128 bytes

 public:
  /// `group` is the consumer's number within its team.
  __device__ HopperConsumer(const HopperArgs& a, Shared& shared, int group) : a_(a), shared_(shared), group_(group) {}

  /// Each turn issues the scores of a tile and the product with V of the tile before, whichever item that is of. Turns
  /// with nothing special to do have a loop of their own, without branches: registers then stay where the products have
  /// them. In the very first turn the weights are 0 and V is whatever the slot held; what O comes to is thrown away.
  __device__ void run() {
    Registers r;
    int left = 0;
    do {
      const bool first = agreed(left == 0);
      if (first) left = next_item();
      bool next_is_whole = turn<false>(r, first, left == 1);
      while (agreed(--left > 0 && next_is_whole)) next_is_whole = turn<true>(r, false, left == 1);
    } while (agreed(item_.tiles > 0));
  }

 private:
  struct Registers {
    float o[kDim / 2] = {};
    std::uint32_t p[kTileKeys / 16][4] = {};  // weights of the latest tile
    Softmax softmax;
  };

  __device__ int row(const HopperItem& item) const {
    return item.q_block * Shared::kRows + kGroupRows * group_ + threadIdx.x % kGroupThreads / 32 * 16 + lane_id() / 4;
  }

  /// A turn, of an item's last tile or not. kPlain: all rows see the whole tile, and it is not the first of an item, in
  /// whose turn the item before ends. Returns whether each row sees all keys of the item's next tile.
  template <bool kPlain>
  __device__ __forceinline__ bool turn(Registers& r, bool first, bool last) {
    wait_full();
    const int keys = take_slot();
    const std::uint64_t q =
        matrix_descriptor(shared_address(shared_.q[queries_]) + group_ * kGroupRows * 128, 0, kUnit);
    const std::uint64_t k = matrix_descriptor(shared_address(shared_.slots[keys]), 0, kDown);
    float s[kScores];
    multiply_keys(s, q, k);
    wait_full();
    const int values = take_slot();
    multiply_values(r.o, r.p, matrix_descriptor(shared_address(shared_.slots[values]), kUnit, kDown));
    const bool next_is_whole = !shared_.tiles[keys].next_cut;
    const Softmax finished = r.softmax;
    if (!kPlain && first) r.softmax = {};
    wait_products<1>();
    settle(s);
    if (!kPlain && agreed(shared_.tiles[keys].cut)) {
      const int rows[2] = {row(item_), row(item_) + 8};
      if (a_.grid.windowed || a_.grid.sliding_window > 0)
        hide_scores<true>(s, a_.grid, rows, shared_.tiles[keys]);
      else
        hide_scores<false>(s, a_.grid, rows, shared_.tiles[keys]);
    }
    release(shared_.empty[keys]);
    shared_.barrier(shared_.q_empty[queries_]).arrive_for_warp(last);
    float rescale[2];
    const bool rose = (kSafe || !kPlain) && r.softmax.raise(s, a_.scale2, rescale);
    r.softmax.weigh(s, a_.scale2);
    wait_products<0>();
    settle(r.o);
    release(shared_.empty[values]);
#pragma unroll
    for (int i = 0; i < kScores / 2; ++i) r.p[i / 4][i % 4] = pack<T>(s[2 * i], s[2 * i + 1]);
    if (!kPlain && first) {
      settle(r.o);  // here and below: else ptxas moves O to other registers, and all of them spill
      if (old_.tiles > 0) finish(r, finished);
      settle(r.o);
#pragma unroll
      for (float& o : r.o) o = 0;
    } else if (rose) {
#pragma unroll
      for (int i = 0; i < kDim / 2; ++i) r.o[i] *= rescale[i / 2 % 2];
    }
    return next_is_whole;
  }

  __device__ void finish(const Registers& r, const Softmax& softmax) {
    write_rows<T, kDim>(a_, old_.head, row(old_), r.o, softmax);
    if (kSafe || softmax.in_bounds() || lane_id() != 0) return;
    const int which = old_.head * a_.grid.q_blocks + old_.q_block;
    if (atomicExch(a_.again.flags + which, 1u) == 0) a_.again.items[atomicAdd(a_.again.count, 1u)] = which;
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

  __device__ void release(const std::uint64_t& empty) {
    shared_.barrier(empty).arrive_for_warp();
  }
  /// Waits until the next slot of the ring is full.
  __device__ void wait_full() {
    shared_.barrier(shared_.full[place_.slot]).wait(place_.parity);
  }
  __device__ int take_slot() {
    const int slot = place_.slot;
    place_.advance();
    return slot;
  }

  /// s = q k, of the group's queries [half][128][64] and a tile of keys
  __device__ static void multiply_keys(float (&s)[kScores], std::uint64_t q, std::uint64_t keys) {
    fence_products();
    multiply_group<T, false>(s, q, keys);
#pragma unroll
    for (int k = 1; k < kDim / 16; ++k)
      multiply_group<T, true>(s, moved(q, k / 4 * Shared::kRows * 128 + k % 4 * 32),
                              moved(keys, k / 4 * kUnit + k % 4 * 32));
    commit_products();
  }

  /// o += p v
  __device__ static void multiply_values(float (&o)[kDim / 2], const std::uint32_t (&p)[kTileKeys / 16][4],
                                         std::uint64_t values) {
    fence_products();
#pragma unroll
    for (int k = 0; k < kTileKeys / 16; ++k) multiply_group<T, true>(o, p[k], moved(values, k * 2 * kDown));
    commit_products();
  }

  const HopperArgs& a_;
  Shared& shared_;
  const int group_;
  RingPlace<Shared::kSlots> place_;
  RingPlace<Shared::kQueries> q_place_;
  RingPlace<Shared::kItems> item_place_;
  HopperItem item_{}, old_{};
  int queries_ = 0;
};

template <class T, int kDim, int kGroups, bool kSafe>
__global__ void __launch_bounds__(kHopperThreads, 1) hopper_attention_kernel(const __grid_constant__ HopperArgs a) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  using Shared = HopperShared<kDim, kGroups>;
  extern __shared__ __align__(1024) char memory[];
  Shared* const teams = reinterpret_cast<Shared*>(memory);
  if (threadIdx.x < Shared::kTeams) teams[threadIdx.x].init();
  __syncthreads();
  if (threadIdx.x < kGroupThreads) {
    give_registers<40>();
    const int warp = threadIdx.x / 32, team = warp / 2;
    if (team >= Shared::kTeams || !is_elected()) return;
    if (warp % 2 == 0)
      HopperProducer<kDim, kGroups>(a, teams[team]).run();
    else
      HopperScheduler<kDim, kGroups, kSafe>(a, teams[team]).run();
  } else {
    take_registers<232>();
    const int group = __shfl_sync(~0u, int(threadIdx.x) / kGroupThreads - 1, 0);
    HopperConsumer<T, kDim, kGroups, kSafe>(a, teams[group / kGroups], group % kGroups).run();
  }
#endif
}

}  // namespace salebench::cuda
