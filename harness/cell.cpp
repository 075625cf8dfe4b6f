#include "harness/cell.h"

#include <fmt/format.h>
#include <omp.h>
#include <sys/resource.h>

#include <chrono>
#include <cmath>
#include <cstring>
#include <new>

#include "core/metrics.h"
#include "core/registry.h"
#include "core/stats.h"
#include "harness/calibrated_knob.h"
#include "harness/evict.h"
#include "harness/measure.h"
#include "harness/params_json.h"
#include "harness/provenance.h"
#include "kernels/cpu/attention.h"

namespace salebench {
namespace {

/// The cell's result is wrong, whatever its time.
struct Incorrect : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Two runs of the same kernel on the same input differ by no more than this, relative L2: reductions across threads
/// may be reordered, nothing else.
constexpr double kRepeatTolerance = 1e-6;

ProblemTensors load_problem(const PlannedCell& cell) {
  ProblemTensors single = apply_view(Dataset(cell.dataset).load(cell.problem.id), {cell.view.length, 1});
  if (fingerprint(single.view()) != cell.truth_fingerprint)
    throw DataError(fmt::format("{} has changed since the run was planned; start a new run", cell.dataset));
  return single;
}

void require_finite(std::span<const float> output, const Shape& shape) {
  for (std::size_t i = 0; i < output.size(); ++i) {
    if (std::isfinite(output[i])) continue;
    const std::size_t row = i / shape.head_dim;
    throw Incorrect(fmt::format("output is {} or was not written at head {}, row {}, channel {}", output[i],
                                row / shape.q_len, row % shape.q_len, i % shape.head_dim));
  }
}

void require_causal(ConstMaskView mask) {
  const BlockGrid& grid = mask.grid;
  for (int head = 0; head < mask.heads; ++head)
    for (int qb = 0; qb < grid.q_blocks(); ++qb)
      for (int kb = grid.causal_end(qb); kb < grid.words() * 32; ++kb)
        if (mask.kept(head, qb, kb))
          throw Incorrect(
              fmt::format("mask keeps key block {} of query block {}, head {}, which no row may see", kb, qb, head));
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

/// What the accuracy pass found: of the output as computed, and of exact attention over the same mask.
struct CellAccuracy {
  ProblemAccuracy computed, masked;
};

void record_accuracy(const CellAccuracy& both, CellResult& result) {
  CellRecord& c = result.cell;
  const ProblemAccuracy& accuracy = both.computed;
  const Accuracy& a = accuracy.overall;
  c.mask_rel_l2 = both.masked.overall.rel_l2;
  c.density = a.density, c.tile_density = a.tile_density;
  c.recall_mean = a.recall_mean, c.recall_p05 = a.recall_p05, c.recall_min = a.recall_min;
  c.rel_l2 = a.rel_l2, c.rel_l2_worst = accuracy.rel_l2_worst, c.max_abs = a.max_abs;
  c.l1_per_token = a.l1_per_token, c.cos_min = a.cos_min;
  c.flops_executed = a.flops_executed, c.flops_dense = a.flops_dense;
  for (std::size_t head = 0; head < accuracy.heads.size(); ++head) {
    const Accuracy& h = accuracy.heads[head];
    result.heads.push_back({0, std::int64_t(head), h.density, h.tile_density, h.recall_mean, h.recall_p05, h.recall_min,
                            h.rel_l2, both.masked.heads[head].rel_l2, h.max_abs, h.l1_per_token, h.cos_min});
  }
}

void record_times(const Samples& s, bool quick, std::uint64_t seed, CellResult& result) {
  CellRecord& c = result.cell;
  c.select_s = median(s.select), c.attend_s = median(s.attend), c.total_s = median(s.total);
  const Interval total = median_interval(s.total, seed);
  c.total_lo_s = total.low, c.total_hi_s = total.high;
  c.noise = s.noise, c.converged = s.converged, c.samples = std::int64_t(s.total.size());
  c.timing_usable = !quick;
  if (!s.baseline.empty()) {
    c.dense_s = median(s.baseline), c.speedup = c.dense_s / c.total_s;
    const Interval speedup = ratio_interval(s.baseline, s.total, seed);
    c.speedup_lo = speedup.low, c.speedup_hi = speedup.high;
  }
  const auto add = [&](const char* phase, const std::vector<double>& seconds) {
    for (std::size_t i = 0; i < seconds.size(); ++i) result.samples.push_back({0, std::int64_t(i), phase, seconds[i]});
  };
  add("select", s.select);
  add("attend", s.attend);
  add("dense", s.baseline);
}

/// The method under test with its buffers, and the baseline beside it.
class Bench {
 public:
  Bench(const Plan& plan, const PlannedCell& cell, const ProblemTensors& tensors)
      : plan_(plan),
        problem_(tensors.view()),
        method_(prepared(plan, cell, problem_, remark_)),
        mask_(grid_of(*method_, problem_), tensors.shape.q_heads),
        accurate_(tensors.shape),
        timed_(tensors.shape) {}

  const BlockMask& mask() const { return mask_; }
  /// What the reader of the result must know, of the method and of its calibrated values.
  std::string remark() const {
    const std::string own = method_->remark(problem_.shape);
    return own.empty() || remark_.empty() ? own + remark_ : fmt::format("{}; {}", own, remark_);
  }

  /// A method ready to select; `remark` says where calibrated values come from other data.
  static std::unique_ptr<Method> prepared(const Plan& plan, const PlannedCell& cell, const HostProblem& problem,
                                          std::string& remark) {
    auto method = make_method(cell.method, cell.params);
    method->set_seed(plan.sweep.seed);
    method->check(problem.shape, problem.causal);
    remark = read_calibrated_knob(*method, cell.method, cell.problem.id, cell.truth_fingerprint, problem.shape,
                                  cell.view.repeat);
    method->prepare(problem, cell.problem.id);
    return method;
  }

  /// One untimed run with every check; its output is what the timed ones must repeat.
  CellAccuracy accuracy(const Truth& truth) {
    poison(accurate_);
    method_->select_fast(problem_, mask_.view());
    require_causal(mask_.view());
    method_->attend(problem_, std::as_const(mask_).view(), accurate_.view());
    require_finite(accurate_.output, problem_.shape);
    // Recall is the mask's, so its log-sum-exp comes from the exact kernel, whatever the method's own attention does.
    AttentionResult masked(problem_.shape);
    if (method_->exact_attend()) masked.output.clear();
    cpu::block_sparse_attention(problem_, std::as_const(mask_).view(), masked.view());
    const auto measured = [&](const std::vector<float>& output) {
      return measure_accuracy(problem_.shape, truth, std::as_const(mask_).view(), output, masked.lse,
                              method_->extra_pairs(problem_.shape));
    };
    CellAccuracy both{measured(accurate_.output), {}};
    both.masked = method_->exact_attend() ? both.computed : measured(masked.output);
    return both;
  }

  /// Times the method. Throws Incorrect if any sample does not repeat the accuracy pass.
  Samples time(const std::string& name) {
    const BlockMask expected = mask_;
    TimedWork work;
    work.before = [this] {
      mask_.clear();
      poison(timed_);
      if (!method_->has_selection()) method_->select_fast(problem_, mask_.view());
      evict_inputs();
    };
    if (method_->has_selection()) work.select = [this] { method_->select_fast(problem_, mask_.view()); };
    work.attend = [this] { method_->attend(problem_, std::as_const(mask_).view(), timed_.view()); };
    work.check = [&] { check_repeat(expected); };
    work.before_baseline = [this] { evict_inputs(); };
    const MeasureConfig& config = plan_.sweep.measure;
    std::unique_ptr<Method> baseline;
    std::optional<BlockMask> baseline_mask;
    AttentionResult baseline_out(problem_.shape);
    if (config.baseline != "none") {
      baseline = make_method(config.baseline);
      baseline_mask.emplace(grid_of(*baseline, problem_), problem_.shape.q_heads);
      baseline->select_fast(problem_, baseline_mask->view());
      work.baseline = [&] { baseline->attend(problem_, std::as_const(*baseline_mask).view(), baseline_out.view()); };
    }
    return measure(name, work, config, plan_.sweep.seed, plan_.quick);
  }

 private:
  void evict_inputs() {
    if (plan_.sweep.measure.cache != "cold") return;
    for (const auto values : {problem_.q, problem_.k, problem_.v}) evict_values(values);
    evict_values(std::span(timed_.output));
    evict_values(mask_.bits());
  }

  void check_repeat(const BlockMask& expected) const {
    if (!std::ranges::equal(mask_.bits(), expected.bits()))
      throw Incorrect("the timed selection keeps other tiles than the accuracy pass");
    if (std::memcmp(timed_.output.data(), accurate_.output.data(), timed_.output.size() * sizeof(float)) == 0) return;
    const double difference = relative_difference(timed_.output, accurate_.output);
    if (!(difference <= kRepeatTolerance))
      throw Incorrect(
          fmt::format("the timed output differs from the accuracy pass by {:.2g} (relative L2)", difference));
  }

  const Plan& plan_;
  HostProblem problem_;
  std::string remark_;
  std::unique_ptr<Method> method_;
  BlockMask mask_;
  AttentionResult accurate_, timed_;
};

void run_all(const Plan& plan, const PlannedCell& cell, const TruthCache& cache, CellResult& result) {
  if (!cell.unsupported.empty()) throw Unsupported(cell.unsupported);
  const ProblemTensors single = load_problem(cell);
  const ProblemTensors tensors = apply_view(single, {0, cell.view.repeat});
  const Truth truth = repeat_heads(
      cache.get({cell.truth_fingerprint, plan.sweep.truth_rows, plan.sweep.seed}, single.view()), cell.view.repeat);
  Bench bench(plan, cell, tensors);
  result.cell.reason = bench.remark();
  const CellAccuracy accuracy = bench.accuracy(truth);
  const Samples samples = bench.time(cell.id);
  record_accuracy(accuracy, result);
  record_times(samples, plan.quick, plan.sweep.seed, result);
  result.cell.truth_rows = std::int64_t(truth.rows.size());
  if (plan.sweep.save_masks) result.mask = bench.mask();
}

void fail(CellResult& result, Status status, const std::string& reason) {
  result.cell.status = status_name(status);
  result.cell.reason = reason;
}

double peak_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return double(usage.ru_maxrss) * 1024;
}

}  // namespace

CellRecord planned_record(const Plan& plan, const PlannedCell& cell) {
  CellRecord c;
  c.id = cell.id, c.method = cell.method, c.role = cell.role, c.settings = cell.settings;
  c.method_version = method_info(cell.method).version;
  c.params = params_json(cell.method, cell.params);
  c.dataset = cell.dataset, c.problem = cell.problem.id, c.fingerprint = cell.fingerprint, c.layer = cell.problem.layer;
  c.repeat = cell.view.repeat, c.q_heads = cell.shape.q_heads, c.kv_heads = cell.shape.kv_heads;
  c.q_len = cell.shape.q_len, c.kv_len = cell.shape.kv_len, c.head_dim = cell.shape.head_dim;
  c.dtype = cell.problem.dtype, c.backend = cell.backend, c.cache = plan.sweep.measure.cache;
  c.baseline = plan.sweep.measure.baseline;
  c.threads = plan.sweep.threads > 0 ? plan.sweep.threads : omp_get_num_procs();
  c.git_sha = git_revision();
  c.repro = fmt::format("salebench run {} --only '{}' --in-process{}", plan.sweep.path, cell.id,
                        plan.quick ? " --quick" : "");
  return c;
}

ProblemRecord problem_record(const PlannedCell& cell) {
  const ProblemInfo& info = cell.problem;
  return {cell.dataset,      info.id,           info.model,          info.prompt,        info.source,
          info.captured_utc, info.dtype,        info.layer,          info.shape.q_heads, info.shape.kv_heads,
          info.shape.q_len,  info.shape.kv_len, info.shape.head_dim, info.scale};
}

CellResult run_cell(const Plan& plan, const PlannedCell& cell, const TruthCache& cache) {
  const auto start = std::chrono::steady_clock::now();
  omp_set_num_threads(plan.sweep.threads > 0 ? plan.sweep.threads : omp_get_num_procs());
  CellResult result;
  result.cell = planned_record(plan, cell);
  result.problem = problem_record(cell);
  result.cell.status = status_name(Status::ok);
  try {
    run_all(plan, cell, cache, result);
  } catch (const Unsupported& error) {
    fail(result, Status::unsupported, error.what());
  } catch (const Incorrect& error) {
    fail(result, Status::incorrect, error.what());
  } catch (const std::bad_alloc&) {
    fail(result, Status::oom, "out of host memory");
  } catch (const std::exception& error) {
    fail(result, Status::error, error.what());
  } catch (...) {
    fail(result, Status::error, "threw something that is not a std::exception");
  }
  result.cell.bytes_peak = peak_bytes();
  result.cell.wall_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  result.cell.finished_utc = utc_now();
  return result;
}

}  // namespace salebench
