#include "harness/cell/cell_bench.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>

#include "core/stats.h"
#include "harness/plan/backends.h"
#include "harness/plan/calibrated_knob.h"
#include "harness/plan/honoured.h"

namespace salebench {
namespace {

/// Two runs of the same kernel on the same input differ by no more than this, relative L2: reductions across threads
/// may be reordered, nothing else.
constexpr double kRepeatTolerance = 1e-6;

/// The low `count` bits of a word, which may be more than there are, or fewer than none.
std::uint32_t low_bits(int count) {
  return count >= 32 ? ~0u : count <= 0 ? 0u : (1u << count) - 1;
}

void require_visible(const BlockMask& mask) {
  const ConstMaskView view = mask.view();
  const BlockGrid& grid = view.grid;
  for (int head = 0; head < view.heads; ++head)
    for (int qb = 0; qb < grid.q_blocks(); ++qb) {
      const int begin = grid.visible_begin(qb), end = grid.causal_end(qb);
      for (int word = 0; word < grid.words(); ++word) {
        const std::uint32_t seen = low_bits(end - 32 * word) & ~low_bits(begin - 32 * word);
        if (const std::uint32_t unseen = view.row(head, qb)[word] & ~seen; unseen != 0)
          throw Incorrect(fmt::format("mask keeps key block {} of query block {}, head {}, which no row may see",
                                      32 * word + std::countr_zero(unseen), qb, head));
      }
    }
}

void require_finite(const Runner& runner, const Shape& shape) {
  const auto bad = runner.first_not_finite();
  if (!bad) return;
  const std::size_t row = bad->first / shape.head_dim;
  throw Incorrect(fmt::format("output is {} or was not written at head {}, row {}, channel {}", bad->second,
                              row / shape.q_len, row % shape.q_len, bad->first % shape.head_dim));
}

void require_repeat(const Runner& runner) {
  const RepeatDifference difference = runner.difference();
  if (difference.other_tiles) throw Incorrect("the timed selection keeps other tiles than the accuracy pass");
  if (!(difference.relative_l2 <= kRepeatTolerance))
    throw Incorrect(
        fmt::format("the timed output differs from the accuracy pass by {:.2g} (relative L2)", difference.relative_l2));
}

/// The cell's problem with one copy of its heads. Throws DataError if it is not the one that was planned.
ProblemTensors load_problem(const PlannedCell& cell) {
  ProblemTensors single = apply_view(Dataset(cell.dataset).load(cell.problem->id), {cell.length, 1});
  if (fingerprint(single.view(), *cell.problem) != cell.truth_fingerprint)
    throw DataError(fmt::format("{} has changed since the run was planned; start a new run", cell.dataset));
  return single;
}

/// A method ready to select; `remark` says where calibrated values come from other data. Throws Unsupported.
std::unique_ptr<Method> prepared_method(const Plan& plan, const PlannedCell& cell, const HostProblem& problem,
                                        std::string& remark) {
  auto method = cell.make();
  method->set_seed(plan.sweep.seed);
  require_honoured(*method, *cell.problem, problem.shape);
  const std::string calibrated =
      read_calibrated_knob(*method, cell.method, cell.problem->id, cell.truth_fingerprint, problem.shape, cell.repeat);
  method->prepare(problem, cell.problem->id);
  remark = joined(method->remark(problem.shape), calibrated);
  return method;
}

/// The cell's method on its backend, timed.
class TimedCell {
 public:
  TimedCell(const Plan& plan, const PlannedCell& cell, ProblemTensors& tensors, Method& method, Runner& runner)
      : plan_(plan), cell_(cell), tensors_(tensors), method_(method), runner_(runner) {}

  Samples time() {
    const MeasureConfig& config = plan_.sweep.measure;
    TimedWork work;
    work.has_selection = runner_.has_selection();
    work.has_index = runner_.has_index();
    work.sample = [this] { return sample(); };
    work.changed = [this] { run_changed(); };
    if (config.baseline != "none") {
      runner_.start_baseline(config.baseline);
      work.baseline = [this] { return runner_.sample_baseline(); };
    }
    return measure(cell_.id, work, config, plan_.sweep.seed, plan_.quick);
  }

 private:
  PhaseTimes sample() {
    runner_.poison();
    const PhaseTimes times = runner_.sample();
    require_repeat(runner_);
    return times;
  }

  /// A sample on changed tensors, which are changed back afterwards.
  void run_changed() {
    {
      const ChangedTensors changed(tensors_, runner_.knobs_follow() ? &method_ : nullptr, runner_.may_turn_heads());
      runner_.take_tensors();
      if (!changed.known_answer() || !runner_.expect_turned(changed.turn())) expect_fresh();
      try {
        sample();
      } catch (const Incorrect& error) {
        throw Incorrect(
            fmt::format("after the tensors changed (heads in other places, V negated): {}; does it hand out what it "
                        "computed before?",
                        error.what()));
      }
    }
    runner_.take_tensors();
    runner_.expect_original();
  }

  void expect_fresh() {
    std::string remark;
    const auto fresh = prepared_method(plan_, cell_, tensors_.view(), remark);
    runner_.expect_fresh(*fresh);
  }

  const Plan& plan_;
  const PlannedCell& cell_;
  ProblemTensors& tensors_;
  Method& method_;
  Runner& runner_;
};

/// Over the samples that have a value; NaN if none has.
double median_known(std::vector<double> values) {
  std::erase_if(values, [](double x) { return std::isnan(x); });
  return median(std::move(values));
}

void record_accuracy(const ProblemAccuracy& accuracy, CellResult& result) {
  static_cast<Accuracy&>(result.cell) = accuracy.overall;
  for (std::size_t head = 0; head < accuracy.heads.size(); ++head) {
    HeadRecord& record = result.heads.emplace_back();
    static_cast<Accuracy&>(record) = accuracy.heads[head];
    record.head = std::int64_t(head);
  }
}

void record_times(const Samples& s, bool quick, std::uint64_t seed, CellResult& result) {
  CellRecord& c = result.cell;
  c.select_s = median(s.select), c.index_s = median(s.index);
  c.attend_s = median(s.attend), c.total_s = median(s.total);
  c.sm_clock_mhz = median_known(s.sm_clock_mhz);
  const Interval total = median_interval(s.total, seed);
  c.total_lo_s = total.low, c.total_hi_s = total.high;
  c.noise = s.noise, c.converged = s.converged, c.samples = std::int64_t(s.total.size());
  c.timing_usable = !quick;
  if (!s.baseline.empty()) {
    c.dense_s = median(s.baseline), c.speedup = c.dense_s / c.total_s;
    const Interval speedup = ratio_interval(s.baseline, s.total, seed);
    c.speedup_lo = speedup.low, c.speedup_hi = speedup.high;
  }
  const auto add = [&](const char* phase, const std::vector<double>& seconds, bool of_method = true) {
    for (std::size_t i = 0; i < seconds.size(); ++i)
      result.samples.push_back({.sample = std::int64_t(i),
                                .phase = phase,
                                .seconds = seconds[i],
                                .sm_clock_mhz = of_method ? s.sm_clock_mhz[i] : kNoValue});
  };
  add("select", s.select);
  add("index", s.index);
  add("attend", s.attend);
  add("dense", s.baseline, false);
}

}  // namespace

std::string joined(const std::string& a, const std::string& b) {
  return a.empty() || b.empty() ? a + b : fmt::format("{}; {}", a, b);
}

PhaseTimes checked_run(Runner& runner, const RowSet& only) {
  runner.poison();
  PhaseTimes times;
  times.select = runner.select();
  require_visible(runner.mask());
  times.attend = runner.attend(only);
  require_finite(runner, runner.shape());
  return times;
}

void measure_cell(const Plan& plan, const PlannedCell& cell, const TruthCache& cache, CellResult& result) {
  const Backend& backend = backend_called(cell.backend);
  if (const std::string why = backend.why_none(); !why.empty()) throw Unsupported(why);
  const ProblemTensors single = load_problem(cell);
  ProblemTensors tensors = apply_view(single, {0, cell.repeat});
  std::optional<Truth> truth;
  if (!backend.makes_truth(plan.sweep.truth_rows))
    truth = repeat_heads(cache.get({cell.truth_fingerprint, plan.sweep.truth_rows, plan.sweep.seed}, single.view()),
                         cell.repeat);
  std::string remark;
  const auto method = prepared_method(plan, cell, tensors.view(), remark);
  const auto runner = make_runner(
      cell.backend, {*method, tensors, *cell.problem, truth ? &*truth : nullptr, plan.sweep.measure.cache == "cold"});
  runner->note(result.cell);
  checked_run(*runner);
  runner->expect_last();
  if (!method->exact_attend()) runner->attend_exactly();
  const ProblemAccuracy accuracy = accuracy_of(runner->score());
  if (plan.sweep.save_masks) result.mask = runner->mask();
  result.cell.gpu_before = runner->readings();
  const Samples samples = TimedCell(plan, cell, tensors, *method, *runner).time();
  result.cell.gpu_after = runner->readings();
  record_accuracy(accuracy, result);
  record_times(samples, plan.quick, plan.sweep.seed, result);
  result.cell.reason = joined(remark, runner->remark());
  result.cell.selected_on = runner->selected_on();
  result.cell.attend_kernel = runner->attend_kernel();
  result.cell.baseline_kernel = runner->baseline_kernel();
  result.cell.truth_rows = runner->scored_rows();
  runner->note(result.cell);
}

}  // namespace salebench
