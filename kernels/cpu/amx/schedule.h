// The tile products of one item laid out at compile time, for the shapes that matter: no branch stands between the
// vector instructions and the tile instructions mixed into them. The queue (products.h) does the same for any
// shape.
#pragma once

#include <array>
#include <cstddef>
#include <utility>

#include "hwy/base.h"
#include "kernels/cpu/amx/tile.h"

namespace salebench::cpu {

/// What a schedule reads and writes: scores of the item after, output of the item before. Both have 2 panels.
struct ScheduleData {
  std::array<const std::byte*, 2> keys, values;
  const std::byte *queries, *weights;
  std::byte *scores, *output;
  /// Half of the keys and of the values of the 2 panels after those, which this turn asks for; null if it need not.
  std::array<const std::byte*, 4> ahead;
};

/// For head_dim = 32 kDepth, and Q, K and V in that many bfloat16 parts.
template <int kDepth, int kKeys, int kQueries, int kValues>
class Schedule {
  struct Pair {
    int key = 0, query = 0;
  };
  static constexpr int pair_count() {
    int count = 0;
    for (int k = 0; k < kKeys; ++k)
      for (int q = 0; q < kQueries; ++q) count += k + q <= 2;
    return count;
  }
  static constexpr auto pairs() {
    std::array<Pair, pair_count()> pairs;
    int count = 0;
    for (int order = 2; order >= 0; --order)  // the smallest products first; those below 2^-24 are left out
      for (int k = 0; k < kKeys; ++k)
        for (int q = 0; q < kQueries; ++q)
          if (k + q == order) pairs[count++] = {k, q};
    return pairs;
  }
  static constexpr std::array<Pair, pair_count()> kPairs = pairs();
  static constexpr int kPartBytes = 2 * kDepth * kTileBytes;
  static constexpr int kScoreChain = kDepth * pair_count();  ///< steps of 2 products
  static constexpr int kOutputChain = 2 * (1 + kValues);
  static constexpr int kBlockBytes = 32 * 32 * sizeof(float);

 public:
  static constexpr int kScoreSteps = 4 * kScoreChain;
  static constexpr int kSteps = kScoreSteps + 2 * kDepth * kOutputChain;

  /// Steps [kBegin, kEnd) of kSteps.
  template <int kBegin, int kEnd>
  static HWY_INLINE void run(const ScheduleData& data) {
    if constexpr (kBegin < kEnd) {
      run_step<kBegin>(data);
      run<kBegin + 1, kEnd>(data);
    }
  }

  /// Asks for what lies ahead, in 32 slots.
  template <int kSlot>
  static HWY_INLINE void ask_ahead(const ScheduleData& data) {
    constexpr int kKeyLines = kDepth * kKeys / 2, kValueLines = kDepth * kValues / 2;
    if (!data.ahead[0]) return;
    for (int i = 0; i < 4; ++i) {
      const int lines = i < 2 ? kKeyLines : kValueLines;
      for (int line = 0; line < lines; ++line) __builtin_prefetch(data.ahead[i] + (kSlot * lines + line) * 64, 0, 2);
    }
  }

 private:
  static constexpr std::int64_t kRowBytes = 32 * sizeof(float);

  /// A step is one product of 2 tiles by 1. Two chains, of the left and the right 16 rows, take turns: a chain's
  /// products wait for each other, and the two share what they load of K or V.
  struct Step {
    int chain = 0, half = 0, at = 0;  ///< at: within the chain
  };
  static constexpr Step step_of(int step) {
    const bool scores = step < kScoreSteps;
    const int local = scores ? step : step - kScoreSteps, length = scores ? kScoreChain : kOutputChain;
    const int half = local % 2;
    return {(scores ? 0 : 4) + local / (2 * length) * 2 + half, half, local / 2 % length};
  }
  /// Where chain `kChain` keeps its sums: 2 tiles, one above the other.
  template <int kChain>
  static HWY_INLINE std::byte* sums(const ScheduleData& data) {
    std::byte* const base = kChain < 4 ? data.scores : data.output;
    return base + (kChain < 4 ? kChain : kChain - 4) / 2 * kBlockBytes + kChain % 2 * 64;
  }
  template <int kChain>
  static HWY_INLINE void store(const ScheduleData& data) {
    constexpr int kTile = kChain % 2 * 2;
    tile_store<kTile>(sums<kChain>(data), kRowBytes),
        tile_store<kTile + 1>(sums<kChain>(data) + 16 * kRowBytes, kRowBytes);
  }
  template <int kChain>
  static HWY_INLINE void begin(const ScheduleData& data) {
    constexpr int kTile = kChain % 2 * 2;
    if constexpr (kChain < 4)
      tile_zero<kTile>(), tile_zero<kTile + 1>();
    else
      tile_load<kTile>(sums<kChain>(data), kRowBytes),
          tile_load<kTile + 1>(sums<kChain>(data) + 16 * kRowBytes, kRowBytes);
  }
  template <int kHalf>
  static HWY_INLINE void multiply(const std::byte* a, const std::byte* b, bool same_a) {
    constexpr int kSum = kHalf * 2, kRight = 6 + kHalf;
    if (!same_a) tile_load<4>(a), tile_load<5>(a + kTileBytes);
    tile_load<kRight>(b);
    tile_multiply_bf16<kSum, 4, kRight>(), tile_multiply_bf16<kSum + 1, 5, kRight>();
  }

  template <int kStep>
  static HWY_INLINE void run_step(const ScheduleData& data) {
    constexpr Step kNow = step_of(kStep);
    constexpr int kChain = kNow.chain, kHalf = kNow.half;
    if constexpr (kNow.at == 0) {
      if constexpr (kChain >= 2) store<kChain - 2>(data);
      begin<kChain>(data);
    }
    if constexpr (kChain < 4) {
      constexpr int kDepthTile = kNow.at % kDepth;
      constexpr Pair kPair = kPairs[kNow.at / kDepth];
      multiply<kHalf>(data.keys[kChain / 2] + kPair.key * kPartBytes + kDepthTile * 2 * kTileBytes,
                      data.queries + kPair.query * kPartBytes + (kDepthTile * 2 + kHalf) * kTileBytes, kHalf == 1);
    } else {
      constexpr int kPanel = kNow.at / (1 + kValues), kPart = kNow.at % (1 + kValues);
      constexpr int kValuePart = kPart / 2, kWeightPart = kPart % 2;  // high weights, low, high with V's second part
      multiply<kHalf>(data.values[kPanel] + kValuePart * kPartBytes + (kChain - 4) / 2 * 2 * kTileBytes,
                      data.weights + (kPanel * 4 + kWeightPart * 2 + kHalf) * kTileBytes, kHalf == 1 || kPart == 1);
    }
    if constexpr (kStep + 1 == kSteps) store<kChain - 1>(data), store<kChain>(data);
  }
};

}  // namespace salebench::cpu
