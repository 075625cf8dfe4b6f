// A queue of tile products, run step by step between vector instructions: the tile unit and the vector units work at
// the same time only if their instructions are mixed finely enough for the processor's window of about 500.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "kernels/cpu/amx/tile.h"

namespace salebench::cpu {

/// C [32, 16] += A [32, 32] B [32, 16]: 2 tiles by 1. Offsets are in bytes from the bases of the segment. The tiles of
/// A lie one after the other; those of C are rows 0 to 15 and 16 to 31 of a row-major [32, 32] matrix, of which the
/// product fills 16 columns.
struct TileStep {
  enum class Begin : std::uint8_t { none, zero, load };

  std::int32_t a = 0, b = 0, c = 0;
  std::uint8_t a_base = 0;    ///< which of the segment's bases of A
  bool same_a = false;        ///< A of the step before
  Begin begin = Begin::none;  ///< the first step of a chain starts C
  bool end = false;           ///< the last step of a chain completes C
};

/// The chains of steps that attention needs, for any shape.
struct TilePrograms {
  struct Key {
    int depth_tiles = 0, key_parts = 0, query_parts = 0, value_parts = 0;
    bool operator==(const Key&) const = default;
  };
  Key key;
  std::vector<TileStep> scores;                  ///< K Q^T of a panel
  std::array<std::vector<TileStep>, 2> outputs;  ///< V^T P^T of 1 and of 2 panels

  /// Writes them, unless they are those of this key already.
  void build(const Key& wanted);
};

/// Chains of steps, with the memory they work on.
struct TileSegment {
  const std::vector<TileStep>* steps = nullptr;
  std::array<const std::byte*, 2> a = {};
  const std::byte* b = nullptr;
  std::byte* c = nullptr;
};

/// Chains take turns with two sets of accumulators, so that a chain's result is stored only when the next chain is
/// under way: a store that waits for its product would fill the scheduler and stop the vector instructions behind it.
class TileQueue {
 public:
  void add(const TileSegment& segment) {
    segments_[size_++] = segment;
    waiting_ += int(segment.steps->size());
  }
  /// Makes advance() run all that waits over `slots` calls.
  void spread_over(int slots) {
    per_slot_ = waiting_ * kOne / slots + 1;
    credit_ = 0;
  }
  void advance() {
    for (credit_ += per_slot_; credit_ >= kOne && waiting_ > 0; credit_ -= kOne) run_step();
  }
  /// Runs all that waits. The result of the last chain may not be stored yet.
  void finish() {
    while (waiting_ > 0) run_step();
    current_ = size_ = 0;
  }
  /// Stores the result of the last chain.
  void flush() {
    if (pending_) pending_set_ == 0 ? store<0>(pending_) : store<1>(pending_);
    pending_ = nullptr;
  }

 private:
  static constexpr int kOne = 1 << 10;
  static constexpr std::int64_t kRowBytes = 32 * sizeof(float);

  template <int kSet>
  static void store(std::byte* c) {
    tile_store<2 * kSet>(c, kRowBytes), tile_store<2 * kSet + 1>(c + 16 * kRowBytes, kRowBytes);
  }

  template <int kSet>
  static void multiply(const TileStep& step, const TileSegment& segment) {
    std::byte* const c = segment.c + step.c;
    if (step.begin == TileStep::Begin::zero) {
      tile_zero<2 * kSet>(), tile_zero<2 * kSet + 1>();
    } else if (step.begin == TileStep::Begin::load) {
      tile_load<2 * kSet>(c, kRowBytes), tile_load<2 * kSet + 1>(c + 16 * kRowBytes, kRowBytes);
    }
    if (!step.same_a) {
      const std::byte* const a = segment.a[step.a_base] + step.a;
      tile_load<4>(a), tile_load<5>(a + kTileBytes);
    }
    tile_load<6>(segment.b + step.b);
    tile_multiply_bf16<2 * kSet, 4, 6>(), tile_multiply_bf16<2 * kSet + 1, 5, 6>();
  }

  void run_step() {
    const TileSegment& segment = segments_[current_];
    const TileStep& step = (*segment.steps)[at_];
    set_ == 0 ? multiply<0>(step, segment) : multiply<1>(step, segment);
    if (step.end) {
      flush();
      pending_ = segment.c + step.c;
      pending_set_ = set_;
      set_ ^= 1;
    }
    --waiting_;
    if (++at_ == int(segment.steps->size())) at_ = 0, ++current_;
  }

  std::array<TileSegment, 8> segments_;
  int current_ = 0, size_ = 0;  ///< segment under way, and how many there are
  int at_ = 0;                  ///< next step of that segment
  int waiting_ = 0;             ///< steps in all
  int per_slot_ = 0, credit_ = 0;
  int set_ = 0, pending_set_ = 0;
  std::byte* pending_ = nullptr;
};

}  // namespace salebench::cpu
