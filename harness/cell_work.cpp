#include "harness/cell_work.h"

#include <fmt/format.h>

#include <cmath>

#include "core/registry.h"
#include "core/stats.h"
#include "harness/calibrated_knob.h"
#include "harness/honoured.h"

namespace salebench {
namespace {

/// Over the samples that have a value; NaN if none has.
double median_known(std::vector<double> values) {
  std::erase_if(values, [](double x) { return std::isnan(x); });
  return median(std::move(values));
}

}  // namespace

ProblemTensors load_problem(const PlannedCell& cell) {
  ProblemTensors single = apply_view(Dataset(cell.dataset).load(cell.problem->id), {cell.length, 1});
  if (fingerprint(single.view(), *cell.problem) != cell.truth_fingerprint)
    throw DataError(fmt::format("{} has changed since the run was planned; start a new run", cell.dataset));
  return single;
}

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

std::string joined(const std::string& a, const std::string& b) {
  return a.empty() || b.empty() ? a + b : fmt::format("{}; {}", a, b);
}

void throw_not_finite(double value, std::size_t index, const Shape& shape) {
  const std::size_t row = index / shape.head_dim;
  throw Incorrect(fmt::format("output is {} or was not written at head {}, row {}, channel {}", value,
                              row / shape.q_len, row % shape.q_len, index % shape.head_dim));
}

void throw_unseen_tile(int head, int q_block, int k_block) {
  throw Incorrect(
      fmt::format("mask keeps key block {} of query block {}, head {}, which no row may see", k_block, q_block, head));
}

void throw_other_tiles() {
  throw Incorrect("the timed selection keeps other tiles than the accuracy pass");
}

void throw_other_output(double relative_l2) {
  throw Incorrect(fmt::format("the timed output differs from the accuracy pass by {:.2g} (relative L2)", relative_l2));
}

void on_changed_tensors(const std::function<void()>& check) {
  try {
    check();
  } catch (const Incorrect& error) {
    throw Incorrect(
        fmt::format("after the tensors changed (heads in other places, V negated): {}; does it hand out what "
                    "it computed before?",
                    error.what()));
  }
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

}  // namespace salebench
