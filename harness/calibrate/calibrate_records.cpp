#include "harness/calibrate/calibrate_records.h"

#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <tuple>

#include "harness/plan/calibrated_knob.h"
#include "harness/plan/params_json.h"
#include "harness/support/text_table.h"
#include "results/places.h"

namespace salebench {
namespace {

CalibrationRecord shared_record(const MethodSetting& setting, const GroupOutcome& outcome,
                                const CalibrateConfig& config) {
  const auto method = make_method(setting.method, setting.values);
  const Params params = method->all_params();
  CalibrationRecord r;
  static_cast<MethodOnData&>(r) = method_on_data(setting.method, *method, setting.values, "", "");
  if (!r.knob.empty()) r.params = params_json(params, {r.knob, knob_file_param(setting.method, setting.values)});
  r.metric = outcome.target.metric, r.target = outcome.target.limit;
  r.scope = config.scope, r.search = config.search.kind, r.fit = config.fit;
  r.threads = omp_get_max_threads();
  return r;
}

/// Of a head, or of the problem; empty where the part has no rows.
Accuracy figures_of(const ProblemAccuracy& accuracy, std::optional<std::size_t> head = {}) {
  return accuracy.heads.empty() ? Accuracy() : head ? accuracy.heads[*head] : accuracy.overall;
}

/// The row of a whole problem; its status is the first that is not ok.
CalibrationRecord whole_record(CalibrationRecord r, const GroupOutcome& outcome, std::size_t problem) {
  if (outcome.units.size() == 1) r.value = outcome.units.front().value;
  r.status = outcome.units.front().status;
  for (const UnitOutcome& unit : outcome.units) {
    r.evaluations = std::max<std::int64_t>(r.evaluations, unit.evaluations);
    if (r.status == "ok") r.status = unit.status;
  }
  const Score& score = outcome.scores[problem];
  r.fitted = figures_of(score.fit), r.held_out = figures_of(score.held_out);
  r.select_s = outcome.select_s[problem], r.attend_s = score.attend_s;
  return r;
}

}  // namespace

bool belongs(const CalibrationRecord& r, const CalibrateConfig& config, const MethodSetting& setting,
             const Target& target) {
  return r.method == setting.method && r.settings == param_text(setting.values) && r.metric == target.metric &&
         r.target == target.limit && r.scope == config.scope && r.search == config.search.kind &&
         r.status != "unsupported" && r.status != "error";
}

CalibrationFile file_without_values(const MethodSetting& setting, const CalibrationRecord& row) {
  CalibrationFile file;
  file.method = row.method, file.method_version = int(row.method_version), file.parameter = row.knob;
  const auto method = make_method(setting.method, setting.values);
  file.settings = param_values(method->all_params());
  file.settings.erase(row.knob);
  file.settings.erase(knob_file_param(setting.method, setting.values));
  file.metric = row.metric, file.target = row.target;
  file.scope = row.scope, file.search = row.search, file.fit = row.fit;
  return file;
}

std::vector<CalibrationRecord> calibration_records(const MethodSetting& setting, const CalibrationGroup& group,
                                                   const GroupOutcome& outcome, const CalibrateConfig& config) {
  const CalibrationRecord shared = shared_record(setting, outcome, config);
  std::vector<CalibrationRecord> records;
  for (std::size_t i = 0; i < group.problems.size(); ++i) {
    const CheckedView& view = group.problems[i].view;
    CalibrationRecord r = shared;
    r.dataset = view.dataset, r.fingerprint = view.truth_fingerprint;
    r.problem = without_texts(*view.problem), r.problem.shape = view.shape;
    if (!outcome.failure.empty()) {
      r.status = outcome.failure, r.reason = outcome.reason;
      records.push_back(r);
      continue;
    }
    records.push_back(whole_record(r, outcome, i));
    for (int head = 0; head < view.shape.q_heads; ++head) {
      const UnitOutcome& unit = outcome.units[outcome.units.size() == 1 ? 0 : std::size_t(head)];
      r.head = head, r.value = unit.value, r.status = unit.status, r.evaluations = unit.evaluations;
      const Score& score = outcome.scores[i];
      r.fitted = figures_of(score.fit, head), r.held_out = figures_of(score.held_out, head);
      records.push_back(r);
    }
  }
  return records;
}

namespace {

/// "0.012" or, over heads, "0.002..0.05".
std::string value_text(const std::vector<CalibrationRecord>& records, std::size_t whole) {
  double low = records[whole].value, high = low;
  for (std::size_t i = whole + 1; i < records.size() && records[i].head >= 0; ++i)
    low = std::fmin(low, records[i].value), high = std::fmax(high, records[i].value);
  return low == high ? number_text(low, "{:.4g}") : number_text(low, "{:.3g}") + number_text(high, "..{:.3g}");
}

/// A figure of the worst head.
double worst_head(const std::vector<CalibrationRecord>& records, std::size_t whole, Accuracy CalibrationRecord::*part,
                  const Figure& figure) {
  double worst = kNoValue;
  for (std::size_t i = whole + 1; i < records.size() && records[i].head >= 0; ++i)
    worst = worse(figure, worst, records[i].*part.*figure.member);
  return worst;
}

/// The rows of whole problems, by problem and target, both in the order in which they first appear.
std::vector<std::size_t> compared_order(const std::vector<CalibrationRecord>& records) {
  std::vector<std::size_t> order;
  std::map<std::tuple<std::string, std::string, std::string, int>, std::size_t> problems;
  std::map<std::pair<std::string, double>, std::size_t> targets;
  std::vector<std::pair<std::size_t, std::size_t>> place;
  for (std::size_t i = 0; i < records.size(); ++i) {
    const CalibrationRecord& r = records[i];
    place.emplace_back(
        problems.try_emplace({r.dataset, r.problem.id, r.fingerprint, r.problem.shape.kv_len}, i).first->second,
        targets.try_emplace({r.metric, r.target}, i).first->second);
    if (r.head < 0) order.push_back(i);
  }
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return place[i]; });
  return order;
}

}  // namespace

std::string calibration_text(const std::vector<CalibrationRecord>& records) {
  std::vector<TextRow> rows = {{"target", "method", "settings", "by", "problem", "len", "knob", "values", "tries",
                                "density", "recall", "error", "worst", "density'", "recall'", "error'", "worst'",
                                "status"}};
  const auto places = place_labels(records), settings = settings_labels(records);
  for (const std::size_t i : compared_order(records)) {
    const CalibrationRecord& r = records[i];
    const Figure& error = calibrated_figure(r.metric == "recall" ? "rel_l2" : r.metric);
    rows.push_back({fmt::format("{}={}", r.metric, r.target), r.method, settings[i],
                    r.search == "bisection" ? r.scope : r.scope + ", " + r.search, places[i],
                    std::to_string(r.problem.shape.kv_len), r.knob, value_text(records, i),
                    std::to_string(r.evaluations)});
    for (const auto part : {&CalibrationRecord::fitted, &CalibrationRecord::held_out}) {
      const Accuracy& a = r.*part;
      for (const double value : {a.density, a.recall_mean, a.*error.member, worst_head(records, i, part, error)})
        rows.back().push_back(number_text(value, "{:.4f}"));
    }
    rows.back().push_back(r.status + (r.reason.empty() ? "" : ": ") + r.reason);
  }
  return aligned_table(rows, {0, 1, 2, 3, 4, 6, 7, 17}) +
         "error: rel_l2, or l1_per_token where that is the target, of the problem; worst: of its worst head; ' marks "
         "rows and data sets that were held out\n";
}

}  // namespace salebench
