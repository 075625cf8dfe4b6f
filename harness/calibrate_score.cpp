#include "harness/calibrate_score.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <set>

#include "harness/calibrated_knob.h"
#include "harness/honoured.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/mask_recall.h"
#include "results/schema.h"

namespace salebench {
namespace {

constexpr int kGroupRows = 128;  // the largest query block of the methods, so that all are fitted to the same rows

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::vector<bool> complement(const RowSet& rows, int q_len) {
  std::vector<bool> others(static_cast<std::size_t>(q_len));
  for (int row = 0; row < q_len; ++row) others[std::size_t(row)] = !rows.contains(row);
  return others;
}

bool any_row(const Truth& truth, const RowSet& rows) {
  return std::ranges::any_of(truth.rows, [&](int row) { return rows.contains(row); });
}

/// Leaves the query blocks that hold none of the rows without a tile, so that nothing is computed for them.
void clear_unscored(BlockMask& mask, const RowSet& rows) {
  const MaskView view = mask.view();
  for (int head = 0; head < view.heads; ++head)
    for (int qb = 0; qb < view.grid.q_blocks(); ++qb)
      if (rows.count(view.grid.q_begin(qb), view.grid.q_end(qb)) == 0)
        std::fill_n(view.row(head, qb), view.grid.words(), 0u);
}

void require_finite(const ProblemAccuracy& accuracy) {
  for (std::size_t head = 0; head < accuracy.heads.size(); ++head)
    if (!std::isfinite(accuracy.heads[head].l1_per_token))
      throw std::runtime_error(fmt::format("the output of head {} is not finite or was not all written", head));
}

void set_knob(Method& method, std::span<const double> values) {
  const Params params = method.params();
  const Param* param = knob_param(params);
  if (!param || values.empty()) return;
  Knob& knob = *param->knob();
  knob.value = values.front();
  if (knob.per_head) knob.of_head.assign(values.begin(), values.end());
}

/// The figures of a problem whose heads were evaluated apart, as far as they are means over heads.
void set_overall(ProblemAccuracy& accuracy) {
  accuracy.overall = {};
  const double share = 1 / double(accuracy.heads.size());
  for (const auto mean : {&Accuracy::density, &Accuracy::recall_mean, &Accuracy::l1_per_token}) {
    accuracy.overall.*mean = 0;
    for (const Accuracy& head : accuracy.heads) accuracy.overall.*mean += share * head.*mean;
  }
}

}  // namespace

RowSet fit_rows(const std::string& fit, int q_len) {
  if (fit == "all") return {};
  const int groups = (q_len + kGroupRows - 1) / kGroupRows;
  std::vector<bool> rows(static_cast<std::size_t>(q_len));
  for (int row = 0; row < q_len; ++row) {
    const int group = row / kGroupRows;
    rows[std::size_t(row)] = fit == "first_half" ? group < (groups + 1) / 2 : group % 2 == 0;
  }
  return RowSet(std::move(rows));
}

ScoredProblem load_scored(const CheckedView& view, const std::string& fit, bool fitted, const TruthCache& cache,
                          const TruthKey& key, const ProgressCall& progress) {
  ScoredProblem p{view, apply_view(Dataset(view.dataset).load(view.problem->id), {view.view.length, 1}), {}, {}, {}};
  const HostProblem problem = p.tensors.view();
  if (fingerprint(problem, *view.problem) != view.truth_fingerprint)
    throw DataError(fmt::format("{} has changed since the calibration began", view.dataset));
  p.truth = cache.get(key, problem, progress);
  if (!fitted) {
    p.has_fit = false;
    return p;
  }
  p.fit = fit_rows(fit, problem.shape.q_len);
  p.held_out = RowSet(complement(p.fit, problem.shape.q_len));
  p.has_held_out = any_row(p.truth, p.held_out);
  return p;
}

Score Scorer::score(std::span<const double> values, bool everything) {
  const auto method = make_method(setting_.method, setting_.values);
  const Params params = method->params();
  const Param* knob = knob_param(params);
  const bool shared = knob && !knob->knob()->per_head;
  const bool differ = std::ranges::any_of(values, [&](double value) { return value != values.front(); });
  return shared && differ ? score_each(values, everything) : score_once(values, everything);
}

Score Scorer::score_each(std::span<const double> values, bool everything) {
  Score mixed;
  for (const double value : std::set(values.begin(), values.end())) {
    const Score score = score_once(std::vector(values.size(), value), everything);
    mixed.attend_s = std::max(mixed.attend_s, score.attend_s);
    for (const auto part : {&Score::fit, &Score::held_out}) {
      std::vector<Accuracy>& heads = (mixed.*part).heads;
      heads.resize((score.*part).heads.size());
      for (std::size_t head = 0; head < heads.size(); ++head)
        if (values[head] == value) heads[head] = (score.*part).heads[head];
    }
  }
  for (const auto part : {&Score::fit, &Score::held_out}) set_overall(mixed.*part);
  return mixed;
}

Score Scorer::score_once(std::span<const double> values, bool everything) {
  const HostProblem problem = problem_.tensors.view();
  if (problem.shape.head_dim > cpu::kMaxHeadDim)
    throw Unsupported(
        fmt::format("head_dim {}: the CPU kernels go up to {}", problem.shape.head_dim, cpu::kMaxHeadDim));
  const auto method = make_method(setting_.method, setting_.values);
  set_knob(*method, values);
  method->set_seed(seed_);
  require_honoured(*method, *problem_.view.problem, problem.shape);
  method->prepare(problem, problem_.view.problem->id);
  BlockMask mask(grid_of(*method, problem), problem.shape.q_heads);
  select_times_.push_back(seconds_of([&] { method->select_fast(problem, mask.view()); }));
  BlockMask scored = mask;
  if (!everything) clear_unscored(scored, problem_.fit);
  AttentionResult result(problem.shape);
  std::ranges::fill(result.output, std::numeric_limits<float>::quiet_NaN());
  const BlockMask& attended = method->exact_attend() ? scored : mask;
  Score score;
  score.attend_s = seconds_of([&] { method->attend(problem, attended.view(), result.view()); });
  const Truth& truth = problem_.truth;
  const std::vector<double> recall = cpu::mask_recall(problem, std::as_const(scored).view(), truth.rows, truth.lse);
  const auto measured = [&](const RowSet& rows) {
    return measure_accuracy(problem.shape, truth, std::as_const(mask).view(), result.output, recall,
                            method->extra_pairs(problem), rows);
  };
  if (problem_.has_fit) score.fit = measured(problem_.fit);
  if (problem_.has_held_out && everything) score.held_out = measured(problem_.held_out);
  require_finite(score.fit);
  require_finite(score.held_out);
  return score;
}

}  // namespace salebench
