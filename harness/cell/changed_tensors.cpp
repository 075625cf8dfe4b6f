#include "harness/cell/changed_tensors.h"

#include <algorithm>

namespace salebench {
namespace {

/// Moves the parts of values, each of `size` values, by one place: the first goes to the end, or comes back from there.
void rotate_parts(std::span<float> values, std::size_t size, bool back) {
  const auto middle = back ? values.end() - std::ptrdiff_t(size) : values.begin() + std::ptrdiff_t(size);
  std::rotate(values.begin(), middle, values.end());
}

/// Whether all parts, each of `size` values, are alike.
bool parts_alike(std::span<const float> values, std::size_t size) {
  return std::equal(values.begin(), values.end() - std::ptrdiff_t(size), values.begin() + std::ptrdiff_t(size));
}

void negate_all(std::vector<float>& values) {
  for (float& x : values) x = -x;
}

}  // namespace

int HeadTurn::source(int q_head) const {
  if (!turns_) return q_head;
  const int group = shape_.group(), kv_head = q_head / group, place = q_head % group;
  return (kv_head + 1) % shape_.kv_heads * group + (place + 1) % group;
}

BlockMask HeadTurn::mask(const BlockMask& original) const {
  const ConstMaskView from = original.view();
  BlockMask changed(from.grid, from.heads);
  const std::size_t words = std::size_t(from.grid.q_blocks()) * from.grid.words();
  for (int head = 0; head < from.heads; ++head)
    std::copy_n(from.row(source(head), 0), words, changed.view().row(head, 0));
  return changed;
}

ChangedTensors::ChangedTensors(ProblemTensors& tensors, Method* method, bool turn_heads)
    : tensors_(tensors),
      method_(method),
      turn_(tensors.shape, turn_heads),
      turns_(turn_heads),
      negates_q_(turn_heads && parts_alike(tensors.q, tensors.view().q_head_size())) {
  turn_tensors(false);
  turn_knobs(false);
}

ChangedTensors::~ChangedTensors() {
  turn_tensors(true);
  turn_knobs(true);
}

void ChangedTensors::turn_tensors(bool back) {
  negate_all(tensors_.v);
  if (negates_q_) negate_all(tensors_.q);
  if (!turns_) return;
  const std::size_t q_head = tensors_.view().q_head_size(), kv_head = tensors_.view().kv_head_size();
  const std::size_t q_group = q_head * std::size_t(tensors_.shape.group());
  const std::span<float> q = tensors_.q;
  for (std::size_t at = 0; at < q.size(); at += q_group) rotate_parts(q.subspan(at, q_group), q_head, back);
  rotate_parts(q, q_group, back);
  rotate_parts(tensors_.k, kv_head, back);
  rotate_parts(tensors_.v, kv_head, back);
}

void ChangedTensors::turn_knobs(bool back) {
  if (!turns_ || !method_) return;
  for (const Param& param : method_->all_params()) {
    if (!param.knob() || param.knob()->of_head.empty()) continue;
    std::vector<double>& values = param.knob()->of_head;
    std::vector<double> turned(values.size());
    for (int head = 0; head < int(values.size()); ++head) {
      const auto from = std::size_t(turn_.source(head)), to = std::size_t(head);
      back ? turned[from] = values[to] : turned[to] = values[from];
    }
    values = turned;
  }
}

}  // namespace salebench
