#include "harness/plan/plan.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <map>
#include <set>

#include "core/registry.h"
#include "datasets/mask_file.h"
#include "harness/plan/backends.h"
#include "harness/plan/calibrated_knob.h"
#include "harness/plan/honoured.h"
#include "harness/plan/open_capture.h"
#include "harness/plan/output_check.h"
#include "harness/plan/params_json.h"
#include "results/places.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace salebench {
namespace {

/// Fingerprints of the files that a method's parameters name. Throws DataError if one can't be read.
std::string files_of(Method& method) {
  std::string fingerprints;
  for (const Param& param : method.all_params())
    if (param.type() == "path" && !param.text().empty())
      fingerprints += fmt::format(" {}", file_fingerprint(param.text()));
  return fingerprints;
}

/// `values`: all parameters; `files`: what is in those that they name.
std::string cell_id(const SweepConfig& s, const PlannedCell& cell, const ParamValues& values, const std::string& files,
                    bool quick) {
  const MeasureConfig& m = s.measure;
  const std::string all =
      fmt::format("{} v{} {}{} | {} {} | {} threads {} | {} {} {} {} {} {} {} | rows {} seed {} quick {} masks {}",
                  cell.method, cell.method_version, param_text(values), files, cell.problem->id, cell.fingerprint,
                  cell.backend, s.threads, m.cache, m.warmup, m.min_time, m.max_time, m.max_noise, m.min_samples,
                  m.baseline, s.truth_rows, s.seed, quick, s.save_masks);
  std::string rare;
  if (m.pause > 0) rare += fmt::format(" pause {}", m.pause);
  if (cell.round > 0) rare += fmt::format(" round {}", cell.round);
  const std::string text = all + rare;
  return fmt::format("{}-{:016x}", cell.method, XXH3_64bits(text.data(), text.size()));
}

void add_views(const DatasetConfig& config, const Dataset& dataset, const ProblemInfo& info,
               std::vector<CheckedView>& views) {
  const auto shared = std::make_shared<const ProblemInfo>(info);
  const ProblemTensors whole = dataset.load(info.id);
  const auto output = check_stored_output(dataset, info, whole);
  const std::string doubt = output ? output->complaint() : "";
  if (!doubt.empty()) spdlog::warn("{}: {}: {}", dataset.path(), info.id, doubt);
  for (const int length : config.lengths) {
    Dataset::shape_of(info, {length, 1});  // refuses a length that the capture does not have
    const std::string single = fingerprint(apply_view(whole, {length, 1}).view(), info);
    for (const int repeat : config.repeats) {
      const ProblemView view = {length, repeat};
      views.push_back({dataset.path(), config.label, shared, view, Dataset::shape_of(info, view),
                       repeat == 1 ? single : fmt::format("{}x{}", single, repeat), single, doubt});
    }
  }
}

PlannedCell plan_cell(const SweepConfig& sweep, const CheckedView& v, const std::string& backend, int round,
                      const MethodConfig& config, const ParamValues& values, bool quick) {
  const auto method = make_method(config.name, values);
  PlannedCell cell;
  static_cast<MethodOnData&>(cell) = method_on_data(config.name, *method, values, v.dataset, v.fingerprint);
  cell.label = config.label, cell.dataset_label = v.dataset_label;
  cell.threads = threads_of(sweep), cell.backend = backend, cell.round = round;
  cell.cache = sweep.measure.cache, cell.baseline = sweep.measure.baseline;
  cell.problem = v.problem, cell.length = v.view.length, cell.repeat = v.view.repeat;
  cell.truth_fingerprint = v.truth_fingerprint;
  cell.doubt = v.doubt.empty() ? "" : "the capture contradicts itself: " + v.doubt;
  cell.unsupported = why_unsupported(*method, *cell.problem, cell.shape(), backend);
  cell.id = cell_id(sweep, cell, param_values(method->all_params()), files_of(*method), quick);
  return cell;
}

}  // namespace

std::string role_name(Role role) {
  return role == Role::oracle ? "oracle" : role == Role::baseline ? "baseline" : "method";
}

std::vector<CheckedView> check_datasets(const std::vector<DatasetConfig>& datasets) {
  std::vector<CheckedView> views;
  std::map<std::pair<std::string, std::string>, bool>
      matches;  // whether a glob of problems names any, by glob of paths
  for (const DatasetConfig& config : datasets) {
    const Dataset dataset = open_capture(config.path);
    std::vector<std::string> ids;
    for (const ProblemInfo& info : dataset.problems()) ids.push_back(info.id);
    for (const std::string& glob : config.problems) {
      const NameFilter wanted(glob, ids);
      bool matched = false;
      for (const ProblemInfo& info : dataset.problems()) {
        if (!wanted(info.id)) continue;
        matched = true;
        add_views(config, dataset, info, views);
      }
      if (!matched && config.glob.empty()) dataset.problem(glob);  // throws, naming the nearest
      if (!config.glob.empty()) matches[{config.glob, glob}] |= matched;
    }
  }
  for (const auto& [globs, matched] : matches)
    if (!matched) throw DataError(fmt::format("no capture of {} has a problem '{}'", globs.first, globs.second));
  return views;
}

MethodOnData method_on_data(const std::string& name, Method& method, const ParamValues& settings,
                            const std::string& dataset, const std::string& fingerprint) {
  const Params params = method.all_params();
  const Param* knob = knob_param(params);
  MethodOnData m;
  m.method = name, m.method_version = method_info(name).version, m.role = role_name(method.role());
  m.params = params_json(params), m.settings = param_text(settings), m.knob = knob ? knob->name() : "";
  m.dataset = dataset, m.fingerprint = fingerprint;
  return m;
}

std::unique_ptr<Method> PlannedCell::make() const {
  return make_method(method, param_values_of(params));
}

std::string PlannedCell::title() const {
  const std::string attention = attention_text(*problem);
  return fmt::format("{}{}{} | {}{}{}{} {}{}{}", display_name(*this), settings.empty() ? "" : " ", settings,
                     dataset_name, dataset_name.empty() ? "" : " ", problem->id,
                     attention.empty() ? "" : fmt::format(" ({})", attention), shape().kv_len,
                     repeat > 1 ? fmt::format(" x{}", repeat) : "", backend == "cpu" ? "" : " " + backend);
}

const PlannedCell& Plan::cell(const std::string& id) const {
  const auto found = std::ranges::find(cells, id, &PlannedCell::id);
  if (found == cells.end()) throw UsageError(fmt::format("the plan has no cell '{}'", id));
  return *found;
}

namespace {

/// How cells call their data set where there are several.
void name_datasets(Plan& plan) {
  std::set<std::string> paths;
  for (const PlannedCell& cell : plan.cells) paths.insert(cell.dataset);
  if (paths.size() < 2) return;
  const auto names = short_paths(paths);
  for (PlannedCell& cell : plan.cells)
    cell.dataset_name = cell.dataset_label.empty() ? names.at(cell.dataset) : cell.dataset_label;
}

/// Says which problems are measured once although they are asked for twice.
void warn_of_equals(const std::vector<CheckedView>& views) {
  std::map<std::pair<std::string, std::string>, std::string> first;  // data set by problem and values
  for (const CheckedView& v : views) {
    const auto [place, fresh] = first.try_emplace({v.problem->id, v.fingerprint}, v.dataset);
    if (!fresh && place->second != v.dataset)
      spdlog::warn("problem {} of {} equals that of {} in all its values: it is measured once", v.problem->id,
                   v.dataset, place->second);
  }
}

}  // namespace

Plan make_plan(SweepConfig sweep, bool quick) {
  Plan plan;
  plan.sweep = std::move(sweep), plan.quick = quick;
  std::map<std::string, std::string> labels;  // of the cells, by id
  const std::vector<CheckedView> views = check_datasets(plan.sweep.datasets);
  warn_of_equals(views);
  for (int round = 0; round < plan.sweep.measure.rounds; ++round)
    for (const CheckedView& view : views)
      for (const std::string& backend : plan.sweep.backends)
        for (const MethodConfig& config : plan.sweep.methods)
          for (const ParamValues& values : expand(config)) {
            PlannedCell cell = plan_cell(plan.sweep, view, backend, round, config, values, quick);
            cell.order = int(plan.cells.size());
            const auto [first, is_new] = labels.try_emplace(cell.id, cell.label);
            if (!is_new && first->second != cell.label)
              spdlog::warn("{} {} is asked for as '{}' and as '{}': it is measured once, as the first", cell.method,
                           cell.settings, first->second, cell.label);
            if (is_new) plan.cells.push_back(std::move(cell));
          }
  name_datasets(plan);
  return plan;
}

std::vector<ProblemRecord> Plan::problems() const {
  std::vector<ProblemRecord> records;
  std::set<std::pair<std::string, std::string>> seen;
  for (const PlannedCell& cell : cells)
    if (seen.insert({cell.dataset, cell.problem->id}).second) records.push_back({cell.dataset, *cell.problem});
  return records;
}

ChoiceFilter cell_filter(const Plan& plan, const Choice& choice) {
  std::vector<std::string> names;
  for (const PlannedCell& cell : plan.cells) names.push_back(cell.id), names.push_back(cell.title());
  return {choice, names};
}

bool matches(const PlannedCell& cell, const ChoiceFilter& filter) {
  return filter(cell.id, cell.title());
}

}  // namespace salebench
