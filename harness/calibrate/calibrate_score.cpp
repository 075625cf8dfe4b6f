#include "harness/calibrate/calibrate_score.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "harness/cell/cell_bench.h"
#include "harness/plan/backends.h"
#include "harness/plan/calibrated_knob.h"
#include "harness/plan/honoured.h"

namespace salebench {
namespace {

constexpr int kGroupRows = 128;  // the largest query block of the methods, so that all are fitted to the same rows

std::vector<bool> complement(const RowSet& rows, int q_len) {
  std::vector<bool> others(static_cast<std::size_t>(q_len));
  for (int row = 0; row < q_len; ++row) others[std::size_t(row)] = !rows.contains(row);
  return others;
}

bool any_row(const Truth& truth, const RowSet& rows) {
  return std::ranges::any_of(truth.rows, [&](int row) { return rows.contains(row); });
}

void set_knob(Method& method, std::span<const double> values) {
  const Params params = method.all_params();
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
  const Params params = method->all_params();
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
  const auto method = make_method(setting_.method, setting_.values);
  set_knob(*method, values);
  method->set_seed(seed_);
  const Backend& cpu = backend_called("cpu");
  if (const std::string why = cpu.why_not(*method, *problem_.view.problem, problem.shape); !why.empty())
    throw Unsupported(why);
  require_honoured(*method, *problem_.view.problem, problem.shape);
  method->prepare(problem, problem_.view.problem->id);
  const auto runner = make_runner("cpu", {*method, problem_.tensors, *problem_.view.problem, &problem_.truth});
  const PhaseTimes times = checked_run(*runner, everything ? RowSet() : problem_.fit);
  select_times_.push_back(times.select);
  Score score;
  score.attend_s = times.attend;
  if (problem_.has_fit) score.fit = accuracy_of(runner->score(problem_.fit));
  if (problem_.has_held_out && everything) score.held_out = accuracy_of(runner->score(problem_.held_out));
  return score;
}

}  // namespace salebench
