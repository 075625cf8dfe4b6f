// Tensors changed for one sample, in place and in a way whose right answer follows from that of the original: heads
// change places, and V changes its sign. A method that hands out what it computed before is found out by it.
#pragma once

#include <span>
#include <vector>

#include "core/block_mask.h"
#include "core/method.h"
#include "core/problem.h"

namespace salebench {

/// Which head stands where: KV groups move up by one, and so do the query heads within each group.
class HeadTurn {
 public:
  explicit HeadTurn(const Shape& shape, bool turns = true) : shape_(shape), turns_(turns) {}
  /// The original place of the head that stands at `q_head` now.
  int source(int q_head) const;
  /// The mask of the changed tensors, from that of the original.
  BlockMask mask(const BlockMask& original) const;
  /// The output of the changed tensors, [q_heads, q_len, head_dim] of any type; `negate` changes the sign of a value.
  template <class Value, class Negate>
  std::vector<Value> output(std::span<const Value> original, const Negate& negate) const {
    const std::size_t size = std::size_t(shape_.q_len) * shape_.head_dim;
    std::vector<Value> changed;
    changed.reserve(original.size());
    for (int head = 0; head < shape_.q_heads; ++head)
      for (const Value value : original.subspan(std::size_t(source(head)) * size, size))
        changed.push_back(negate(value));
    return changed;
  }

 private:
  Shape shape_;
  bool turns_;
};

/// Changes tensors and the values that a method's knobs have for each head; the destructor changes them back, bit for
/// bit.
class ChangedTensors {
 public:
  /// `method`: whose knobs follow the heads; null for none. `turn_heads`: otherwise only V changes. Where heads are
  /// copies of one, turning them shows nothing: known_answer() is then false, Q changes its sign too, and what is right
  /// must be computed anew.
  ChangedTensors(ProblemTensors& tensors, Method* method, bool turn_heads);
  ~ChangedTensors();
  ChangedTensors(const ChangedTensors&) = delete;
  ChangedTensors& operator=(const ChangedTensors&) = delete;

  bool known_answer() const { return !negates_q_; }
  const HeadTurn& turn() const { return turn_; }

 private:
  void turn_tensors(bool back);
  void turn_knobs(bool back);

  ProblemTensors& tensors_;
  Method* method_;
  HeadTurn turn_;
  bool turns_ = false, negates_q_ = false;
};

}  // namespace salebench
