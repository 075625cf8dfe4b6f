// Attention on Hopper's tensor cores; attention.h says what it computes. A persistent CTA has two consumer warpgroups
// of 64 query rows each. Where tiles of the mask have 128 rows they are a team, which shares what its producer loads;
// where they have 64, each is a team of its own. A tile is 128 keys, gathered by TMA from four listed chunks. Within a
// consumer the product with V of one tile is issued after the scores of the next, whichever item that belongs to, and
// runs during the softmax of those (FlashAttention-3, arXiv 2407.08608, section 3.2).
#pragma once

#include "kernels/cuda/attention/hopper_consumer.cuh"
#include "kernels/cuda/attention/hopper_work.cuh"

namespace salebench::cuda {

/// kSafe looks for larger scores in each tile; otherwise only an item's first tiles and those with hidden keys do, and
/// an item whose sums went out of bounds is listed, for a second kernel that is safe.
template <class T, int kDim, int kGroups, bool kSafe>
class HopperConsumer : HopperConsumerBase<HopperShared<kDim, kGroups, Operands::bits16>, true> {
 public:
  using Shared = HopperShared<kDim, kGroups, Operands::bits16>;
  static constexpr bool kAgain = kSafe;

  using HopperConsumerBase<Shared, true>::HopperConsumerBase;

  /// Each turn issues the scores of a tile and the product with V of the tile before, whichever item that is of. In the
  /// very first turn the weights are 0 and V is whatever the slot held; what O comes to is thrown away.
  __device__ void run() {
    Registers r;
    this->take_turns([&](auto plain, bool first, bool last) { return turn<plain>(r, first, last); });
  }

 private:
  using Base = HopperConsumerBase<Shared, true>;
  using Base::a_, Base::group_, Base::item_, Base::old_, Base::queries_, Base::shared_;
  using Softmax = HopperSoftmax<std::conditional_t<kSafe, SafeBase, RoomyBase>>;
  static constexpr int kHalves = kDim / 64, kUnit = 1024, kDown = kHalves * kUnit;  // 8 rows x 128 bytes

  struct Registers {
    float o[kDim / 2] = {};
    std::uint32_t p[kTileKeys / 16][4] = {};  // weights of the latest tile
    Softmax softmax;
  };

  /// As HopperConsumerBase::take_turns calls it.
  template <bool kPlain>
  __device__ __forceinline__ bool turn(Registers& r, bool first, bool last) {
    constexpr bool kRaise = kSafe || !kPlain;
    float s[kScores], rescale[2];
    this->await_turn();
    const int keys = begin_scores(s), values = begin_output(r);
    this->pass_turn();
    const bool next_is_whole = shared_.tiles[keys].next_is_whole;
    const Softmax finished = r.softmax;
    if (!kPlain && first) r.softmax = {};
    wait_products<1>();
    settle(s);
    if (!kPlain && agreed(shared_.tiles[keys].cut)) this->hide(s, shared_.tiles[keys]);
    this->release(shared_.empty[keys]);
    this->release_queries(last);
    const bool rose = kRaise && r.softmax.raise(s, a_.scale2, rescale);
    r.softmax.weigh(s, a_.scale2);
    wait_products<0>();
    settle(r.o);
    this->release(shared_.empty[values]);
    pack_weights<T>(r.p, s);
    if (!kPlain && first)
      this->renew_output(r.o, [&] { finish(r, finished); });
    else if (rose)
      scale_output(r.o, rescale);
    return next_is_whole;
  }

  /// Begins s = q k of the next tile, of the group's queries [half][rows][64]; returns the slot of its keys.
  __device__ __forceinline__ int begin_scores(float (&s)[kScores]) {
    const int slot = this->take_slot();
    const std::uint64_t q =
        matrix_descriptor(shared_address(shared_.q[queries_]) + group_ * kGroupRows * 128, 0, kUnit);
    const std::uint64_t keys = matrix_descriptor(shared_address(shared_.slots[slot]), 0, kDown);
    fence_products();
    multiply_group<T, false>(s, q, keys);
#pragma unroll
    for (int k = 1; k < kDim / 16; ++k)
      multiply_group<T, true>(s, moved(q, k / 4 * Shared::kRows * 128 + k % 4 * 32),
                              moved(keys, k / 4 * kUnit + k % 4 * 32));
    commit_products();
    return slot;
  }
  /// Begins o += p v of the latest weights; returns the slot of the values.
  __device__ __forceinline__ int begin_output(Registers& r) {
    const int slot = this->take_slot();
    multiply_values<T>(r.o, r.p, shared_address(shared_.slots[slot]));
    return slot;
  }
  __device__ void finish(const Registers& r, const Softmax& softmax) {
    write_rows<T, kDim>(a_, old_.head, this->row(old_), r.o, softmax, nullptr);
    if (kSafe || softmax.in_bounds() || lane_id() != 0) return;
    const int which = old_.head * a_.grid.q_blocks + old_.q_block;
    if (atomicExch(a_.again.flags + which, 1u) == 0) a_.again.items[atomicAdd(a_.again.count, 1u)] = which;
  }
};

template <class Consumer>
__global__ void __launch_bounds__(kHopperThreads, 1) hopper_attention_kernel(const __grid_constant__ HopperArgs a) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  using Shared = typename Consumer::Shared;
  constexpr int kGroups = kHopperGroups / Shared::kTeams;  // of a team
  extern __shared__ __align__(1024) char memory[];
  Shared* const teams = reinterpret_cast<Shared*>(memory);
  if (threadIdx.x < Shared::kTeams) teams[threadIdx.x].init();
  __syncthreads();
  if (threadIdx.x < kGroupThreads) {
    give_registers<40>();
    const int warp = threadIdx.x / 32, team = warp / 2;
    if (team >= Shared::kTeams || !is_elected()) return;
    if (warp % 2 == 0)
      HopperProducer<Shared>(a, teams[team]).run();
    else
      HopperScheduler<Shared, Consumer::kAgain>(a, teams[team]).run();
  } else {
    take_registers<232>();
    const int group = __shfl_sync(~0u, int(threadIdx.x) / kGroupThreads - 1, 0);
    Consumer(a, teams[group / kGroups], group % kGroups).run();
  }
#endif
}

}  // namespace salebench::cuda
