#include "harness/cell/cpu_runner.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include "core/registry.h"
#include "harness/cell/evict.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/mask_recall.h"

namespace salebench {
namespace {

template <class Work>
double seconds_of(const Work& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double relative_difference(std::span<const float> a, std::span<const float> b) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += (double(a[i]) - b[i]) * (double(a[i]) - b[i]);
    size += double(b[i]) * b[i];
  }
  return size > 0 ? std::sqrt(difference / size) : std::sqrt(difference);
}

/// Leaves the query blocks that hold none of the rows without a tile, so that nothing is computed for them.
void clear_others(MaskView mask, const RowSet& rows) {
  for (int head = 0; head < mask.heads; ++head)
    for (int qb = 0; qb < mask.grid.q_blocks(); ++qb)
      if (rows.count(mask.grid.q_begin(qb), mask.grid.q_end(qb)) == 0)
        std::fill_n(mask.row(head, qb), mask.grid.words(), 0u);
}

/// What a run leaves.
struct Found {
  BlockMask mask;
  std::vector<float> output;
};

class CpuRunner : public Runner {
 public:
  explicit CpuRunner(const RunnerInputs& in)
      : in_(in),
        problem_(in.tensors.view()),
        mask_(grid_of(in.method, problem_), problem_.shape.q_heads),
        out_(problem_.shape) {}

  Shape shape() const override { return problem_.shape; }
  bool has_selection() const override { return in_.method.has_selection(); }
  std::string selected_on() const override { return has_selection() ? "cpu" : ""; }

  void poison() override {
    mask_.clear();
    for (auto* values : {&out_.output, &out_.lse}) std::ranges::fill(*values, std::numeric_limits<float>::quiet_NaN());
  }

  double select() override {
    recall_.clear(), exact_.clear();
    return seconds_of([&] { in_.method.select_fast(problem_, mask_.view()); });
  }
  double attend(const RowSet& only) override {
    if (!only.all() && in_.method.exact_attend()) clear_others(mask_.view(), only);
    return seconds_of([&] { in_.method.attend(problem_, mask_view(), out_.view()); });
  }

  PhaseTimes sample() override {
    if (!has_selection()) select();
    evict_inputs();
    PhaseTimes times;
    if (has_selection()) times.select = select();
    times.attend = attend({});
    return times;
  }

  BlockMask mask() const override { return mask_; }

  std::optional<std::pair<std::size_t, double>> first_not_finite() const override {
    const auto found = std::ranges::find_if(out_.output, [](float x) { return !std::isfinite(x); });
    if (found == out_.output.end()) return std::nullopt;
    return std::pair(std::size_t(found - out_.output.begin()), double(*found));
  }

  void attend_exactly() override {
    AttentionResult exact(problem_.shape);
    cpu::block_sparse_attention(problem_, mask_view(), exact.view());
    exact_ = std::move(exact.output);
  }

  std::vector<HeadSums> score(const RowSet& rows) override {
    if (recall_.empty()) recall_ = cpu::mask_recall(problem_, mask_view(), in_.truth->rows, in_.truth->lse);
    const std::span<const float> exact = in_.method.exact_attend() ? out_.output : exact_;
    return sum_heads(problem_.shape, *in_.truth, mask_view(), out_.output, exact, recall_,
                     in_.method.extra_pairs(problem_), rows);
  }
  int scored_rows() const override { return int(in_.truth->rows.size()); }

  void expect_last() override { expected_ = original_ = std::make_shared<const Found>(Found{mask_, out_.output}); }
  bool expect_turned(const HeadTurn& turn) override {
    expected_ = std::make_shared<const Found>(
        Found{turn.mask(original_->mask), turn.output(std::span(original_->output), std::negate())});
    return true;
  }
  void expect_fresh(const Method& fresh) override {
    BlockMask mask(grid_of(fresh, problem_), problem_.shape.q_heads);
    fresh.select_fast(problem_, mask.view());
    AttentionResult result(problem_.shape);
    fresh.attend(problem_, std::as_const(mask).view(), result.view());
    expected_ = std::make_shared<const Found>(Found{std::move(mask), std::move(result.output)});
  }
  void expect_original() override { expected_ = original_; }
  RepeatDifference difference() const override {
    const std::vector<float>& output = expected_->output;
    const bool same = std::memcmp(out_.output.data(), output.data(), output.size() * sizeof(float)) == 0;
    return {!std::ranges::equal(mask_.bits(), expected_->mask.bits()),
            same ? 0 : relative_difference(out_.output, output)};
  }

  bool may_turn_heads() const override { return in_.method.treats_heads_alike(); }
  bool knobs_follow() const override { return true; }
  void take_tensors() override { in_.method.prepare(problem_, in_.problem.id); }

  void start_baseline(const std::string& method) override {
    baseline_ = make_method(method);
    baseline_mask_.emplace(grid_of(*baseline_, problem_), problem_.shape.q_heads);
    baseline_->select_fast(problem_, baseline_mask_->view());
    baseline_out_.emplace(problem_.shape);
  }
  double sample_baseline() override {
    evict_inputs();
    return seconds_of(
        [&] { baseline_->attend(problem_, std::as_const(*baseline_mask_).view(), baseline_out_->view()); });
  }

 private:
  ConstMaskView mask_view() const { return mask_.view(); }

  void evict_inputs() {
    if (!in_.cold) return;
    for (const auto values : {problem_.q, problem_.k, problem_.v}) evict_values(values);
    evict_values(std::span(out_.output));
    evict_values(mask_.bits());
  }

  RunnerInputs in_;
  HostProblem problem_;
  BlockMask mask_;
  AttentionResult out_;
  std::vector<double> recall_;  // of the last run, once asked for
  std::vector<float> exact_;    // of attend_exactly(); empty before
  std::shared_ptr<const Found> original_, expected_;
  std::unique_ptr<Method> baseline_;
  std::optional<BlockMask> baseline_mask_;
  std::optional<AttentionResult> baseline_out_;
};

}  // namespace

std::unique_ptr<Runner> make_cpu_runner(const RunnerInputs& inputs) {
  return std::make_unique<CpuRunner>(inputs);
}

}  // namespace salebench
