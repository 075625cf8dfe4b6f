#include "harness/calibrate/head_choice.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "core/registry.h"

namespace salebench {
namespace {

using Rows = std::vector<const CalibrationRecord*>;

/// A setting that heads may choose.
struct Candidate {
  ParamValues own;   ///< of the head_params()
  double share = 0;  ///< what selection takes
  Rows rows;         ///< of all problems and heads, in the order of every candidate
};

Candidate candidate_of(const MethodSetting& setting, const Rows& rows) {
  const auto method = make_method(setting.method, setting.values);
  const ParamValues all = param_values(method->all_params());
  Candidate candidate{{}, method->selection_share(), rows};
  for (const std::string& name : method->head_params()) candidate.own[name] = all.at(name);
  return candidate;
}

/// The place of what a head of a problem chooses. Several rows, of several prompts, are one head.
std::size_t choose(const std::vector<Candidate>& candidates, const std::vector<std::size_t>& rows) {
  std::size_t best = 0;
  std::pair<bool, double> least{true, 0};
  for (std::size_t c = 0; c < candidates.size(); ++c) {
    bool misses = false;
    double density = 0, fitted = 0;
    for (const std::size_t row : rows) {
      const CalibrationRecord& r = *candidates[c].rows[row];
      misses |= r.status != "ok";
      if (std::isnan(r.fitted.density)) continue;
      density += r.fitted.density, ++fitted;
    }
    const std::pair cost(misses, candidates[c].share + density / fitted);
    if (c > 0 && !(cost < least)) continue;
    best = c, least = cost;
  }
  return best;
}

/// The row of a whole problem from those of its heads, all of which see as many pairs.
CalibrationRecord whole_record(CalibrationRecord whole, const std::vector<CalibrationRecord>& heads) {
  whole.status = "ok", whole.value = kNoValue, whole.select_s = whole.attend_s = kNoValue, whole.evaluations = 0;
  for (const auto part : {&CalibrationRecord::fitted, &CalibrationRecord::held_out}) {
    Accuracy all;
    double density = 0;
    for (const CalibrationRecord& r : heads) {
      density += (r.*part).density;
      all.rel_l2_worst = std::fmax(all.rel_l2_worst, (r.*part).rel_l2);
    }
    all.density = density / double(heads.size());
    whole.*part = all;
  }
  for (const CalibrationRecord& r : heads)
    if (whole.status == "ok") whole.status = r.status;
  return whole;
}

HeadChoice choice_of(const MethodSetting& common, const std::vector<Candidate>& candidates) {
  const Rows& first = candidates.front().rows;
  HeadChoice choice{common, {}, {}};
  CalibrationFile& file = choice.file = file_without_values(common, *first.front());
  for (const auto& [name, value] : candidates.front().own) file.settings.erase(name);

  std::map<std::pair<std::string, std::int64_t>, std::vector<std::size_t>> rows_of;  // by problem id and head
  for (std::size_t i = 0; i < first.size(); ++i)
    if (first[i]->head >= 0) rows_of[{first[i]->problem.id, first[i]->head}].push_back(i);
  std::map<std::pair<std::string, std::int64_t>, std::size_t> chosen;
  for (const auto& [head, rows] : rows_of) {
    chosen[head] = choose(candidates, rows);
    file.values[head.first].push_back(candidates[chosen[head]].rows[rows.front()]->value);
    file.head_settings[head.first].push_back(candidates[chosen[head]].own);
  }
  for (std::size_t i = 0; i < first.size(); ++i) {
    if (first[i]->head >= 0) continue;
    std::vector<CalibrationRecord> heads;
    for (std::size_t j = i + 1; j < first.size() && first[j]->head >= 0; ++j)
      heads.push_back(*candidates[chosen.at({first[j]->problem.id, first[j]->head})].rows[j]);
    CalibratedProblem problem{
        first[i]->dataset, first[i]->problem.id, first[i]->fingerprint, first[i]->problem.shape.kv_len, {}, {}};
    for (const CalibrationRecord& r : heads) {
      if (!std::isnan(r.fitted.density)) problem.fit.push_back(r.fitted);
      if (!std::isnan(r.held_out.density)) problem.held_out.push_back(r.held_out);
    }
    file.problems.push_back(std::move(problem));
    choice.records.push_back(whole_record(*first[i], heads));
    choice.records.insert(choice.records.end(), heads.begin(), heads.end());
  }
  const std::string shared = param_text(common.values);
  for (CalibrationRecord& r : choice.records) r.settings = shared + (shared.empty() ? "" : " ") + "heads choose";
  return choice;
}

}  // namespace

ParamValues shared_by_heads(const MethodSetting& setting) {
  const auto method = make_method(setting.method, setting.values);
  ParamValues values = param_values(method->all_params());
  for (const std::string& name : method->head_params()) values.erase(name);
  return values;
}

std::vector<HeadChoice> choose_by_head(const CalibrateConfig& config, const std::vector<MethodSetting>& settings,
                                       const Target& target, const std::vector<CalibrationRecord>& records) {
  struct Group {
    MethodSetting common;  ///< as the first candidate's settings say it
    std::vector<Candidate> candidates;
  };
  std::map<std::pair<std::string, ParamValues>, Group> groups;  // by method and what all its heads share
  std::size_t most_rows = 0;
  for (const MethodSetting& setting : settings) {
    const auto method = make_method(setting.method, setting.values);
    if (method->head_params().empty() || config.scope != "head") continue;
    Rows rows;
    for (const CalibrationRecord& r : records)
      if (belongs(r, config, setting, target)) rows.push_back(&r);
    if (rows.empty()) continue;
    MethodSetting common = setting;
    for (const std::string& name : method->head_params()) common.values.erase(name);
    const auto [group, is_new] = groups.try_emplace({setting.method, shared_by_heads(setting)});
    if (is_new) group->second.common = common;
    group->second.candidates.push_back(candidate_of(setting, rows));
    most_rows = std::max(most_rows, rows.size());
  }
  std::vector<HeadChoice> choices;
  for (auto& [key, group] : groups) {
    std::erase_if(group.candidates, [&](const Candidate& c) { return c.rows.size() < most_rows; });
    if (group.candidates.size() > 1) choices.push_back(choice_of(group.common, group.candidates));
  }
  return choices;
}

}  // namespace salebench
