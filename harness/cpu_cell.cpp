// A cell on the CPU: one run with every check, then the timed ones.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <optional>

#include "core/registry.h"
#include "harness/cell_backends.h"
#include "harness/cell_work.h"
#include "harness/changed_tensors.h"
#include "harness/evict.h"
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

void require_finite(std::span<const float> output, const Shape& shape) {
  for (std::size_t i = 0; i < output.size(); ++i) {
    if (!std::isfinite(output[i])) throw_not_finite(output[i], i, shape);
  }
}

void require_visible(ConstMaskView mask) {
  const BlockGrid& grid = mask.grid;
  for (int head = 0; head < mask.heads; ++head)
    for (int qb = 0; qb < grid.q_blocks(); ++qb)
      for (int kb = 0; kb < grid.words() * 32; ++kb)
        if ((kb < grid.visible_begin(qb) || kb >= grid.causal_end(qb)) && mask.kept(head, qb, kb))
          throw_unseen_tile(head, qb, kb);
}

double relative_difference(std::span<const float> a, std::span<const float> b) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += (double(a[i]) - b[i]) * (double(a[i]) - b[i]);
    size += double(b[i]) * b[i];
  }
  return size > 0 ? std::sqrt(difference / size) : std::sqrt(difference);
}

void poison(AttentionResult& result) {
  std::fill(result.output.begin(), result.output.end(), std::numeric_limits<float>::quiet_NaN());
  std::fill(result.lse.begin(), result.lse.end(), std::numeric_limits<float>::quiet_NaN());
}

/// The method under test with its buffers, and the baseline beside it.
class Bench {
 public:
  Bench(const Plan& plan, const PlannedCell& cell, ProblemTensors& tensors)
      : plan_(plan),
        cell_(cell),
        tensors_(tensors),
        problem_(tensors.view()),
        method_(prepared_method(plan, cell, problem_, remark_)),
        mask_(grid_of(*method_, problem_), tensors.shape.q_heads),
        accurate_(tensors.shape),
        timed_(tensors.shape) {}

  const BlockMask& mask() const { return mask_; }
  const std::string& remark() const { return remark_; }

  /// One untimed run with every check; its output is what the timed ones must repeat.
  ProblemAccuracy accuracy(const Truth& truth) {
    poison(accurate_);
    method_->select_fast(problem_, mask_.view());
    require_visible(mask_.view());
    method_->attend(problem_, std::as_const(mask_).view(), accurate_.view());
    require_finite(accurate_.output, problem_.shape);
    const std::vector<double> recall = cpu::mask_recall(problem_, std::as_const(mask_).view(), truth.rows, truth.lse);
    std::vector<float> masked;
    if (!method_->exact_attend()) {
      AttentionResult exact(problem_.shape);
      cpu::block_sparse_attention(problem_, std::as_const(mask_).view(), exact.view());
      masked = std::move(exact.output);
    }
    return accuracy_of(sum_heads(problem_.shape, truth, std::as_const(mask_).view(), accurate_.output, masked, recall,
                                 method_->extra_pairs(problem_)));
  }

  /// Times the method. Throws Incorrect if any sample does not repeat the accuracy pass.
  Samples time(const std::string& name) {
    const BlockMask expected = mask_;
    TimedWork work;
    work.has_selection = method_->has_selection();
    work.sample = [&] { return sample(expected, accurate_.output); };
    work.changed = [&] { run_changed(expected); };
    const MeasureConfig& config = plan_.sweep.measure;
    std::unique_ptr<Method> baseline;
    std::optional<BlockMask> baseline_mask;
    AttentionResult baseline_out(problem_.shape);
    if (config.baseline != "none") {
      baseline = make_method(config.baseline);
      baseline_mask.emplace(grid_of(*baseline, problem_), problem_.shape.q_heads);
      baseline->select_fast(problem_, baseline_mask->view());
      work.baseline = [&] {
        evict_inputs();
        return seconds_of(
            [&] { baseline->attend(problem_, std::as_const(*baseline_mask).view(), baseline_out.view()); });
      };
    }
    return measure(name, work, config, plan_.sweep.seed, plan_.quick);
  }

 private:
  /// Throws Incorrect unless the run gives this mask and output.
  PhaseTimes sample(const BlockMask& expected, std::span<const float> expected_output) {
    mask_.clear();
    poison(timed_);
    if (!method_->has_selection()) method_->select_fast(problem_, mask_.view());
    evict_inputs();
    PhaseTimes times;
    if (method_->has_selection()) times.select = seconds_of([&] { method_->select_fast(problem_, mask_.view()); });
    times.attend = seconds_of([&] { method_->attend(problem_, std::as_const(mask_).view(), timed_.view()); });
    check_repeat(expected, expected_output);
    return times;
  }

  /// The same on changed tensors, which are changed back afterwards.
  void run_changed(const BlockMask& original) {
    {
      const ChangedTensors changed(tensors_, *method_, method_->treats_heads_alike());
      method_->prepare(problem_, cell_.problem->id);
      BlockMask mask = changed.turn().mask(original);
      std::vector<float> output = changed.turn().output(std::span<const float>(accurate_.output), std::negate());
      if (!changed.known_answer()) compute_anew(mask, output);
      on_changed_tensors([&] { sample(mask, output); });
    }
    method_->prepare(problem_, cell_.problem->id);
  }

  /// What a method that has computed nothing yet gives for the tensors as they are.
  void compute_anew(BlockMask& mask, std::vector<float>& output) const {
    std::string remark;
    const auto method = prepared_method(plan_, cell_, problem_, remark);
    mask.clear();
    method->select_fast(problem_, mask.view());
    std::vector<float> lse(accurate_.lse.size());
    method->attend(problem_, std::as_const(mask).view(), {output, lse});
  }

  void evict_inputs() {
    if (plan_.sweep.measure.cache != "cold") return;
    for (const auto values : {problem_.q, problem_.k, problem_.v}) evict_values(values);
    evict_values(std::span(timed_.output));
    evict_values(mask_.bits());
  }

  void check_repeat(const BlockMask& expected, std::span<const float> output) const {
    if (!std::ranges::equal(mask_.bits(), expected.bits())) throw_other_tiles();
    if (std::memcmp(timed_.output.data(), output.data(), output.size_bytes()) == 0) return;
    const double difference = relative_difference(timed_.output, output);
    if (!(difference <= kRepeatTolerance)) throw_other_output(difference);
  }

  const Plan& plan_;
  const PlannedCell& cell_;
  ProblemTensors& tensors_;
  HostProblem problem_;
  std::string remark_;
  std::unique_ptr<Method> method_;
  BlockMask mask_;
  AttentionResult accurate_, timed_;
};

}  // namespace

void run_cpu_cell(const Plan& plan, const PlannedCell& cell, const TruthCache& cache, CellResult& result) {
  const ProblemTensors single = load_problem(cell);
  ProblemTensors tensors = apply_view(single, {0, cell.repeat});
  const Truth truth = repeat_heads(
      cache.get({cell.truth_fingerprint, plan.sweep.truth_rows, plan.sweep.seed}, single.view()), cell.repeat);
  Bench bench(plan, cell, tensors);
  result.cell.reason = bench.remark();
  const ProblemAccuracy accuracy = bench.accuracy(truth);
  const Samples samples = bench.time(cell.id);
  record_accuracy(accuracy, result);
  record_times(samples, plan.quick, plan.sweep.seed, result);
  result.cell.truth_rows = std::int64_t(truth.rows.size());
  if (plan.sweep.save_masks) result.mask = bench.mask();
}

}  // namespace salebench
