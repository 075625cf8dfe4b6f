#include "harness/calibrate/calibrate.h"

#include <fmt/format.h>
#include <omp.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "core/atomic_file.h"
#include "harness/calibrate/calibrate_output.h"
#include "harness/support/interrupts.h"
#include "harness/support/provenance.h"
#include "harness/support/status_line.h"

namespace salebench {
namespace {

/// A group of one calibration, before its problems are loaded.
struct GroupPlan {
  const CalibrateConfig* config;
  std::string id;
  std::vector<CheckedView> fitted, held_out;
};

std::string label(const MethodSetting& setting, const GroupPlan& group) {
  return fmt::format("{} | {}{}{}", setting.text(), group.id,
                     group.config->scope == "layer" ? ", one value for its heads" : "",
                     group.config->search.kind == "paper" ? ", paper's search" : "");
}

ChoiceFilter setting_filter(const std::vector<MethodSetting>& settings, const std::vector<GroupPlan>& groups,
                            const Choice& choice) {
  std::vector<std::string> names;
  for (const MethodSetting& setting : settings) {
    names.push_back(setting.text());
    for (const GroupPlan& group : groups) names.push_back(label(setting, group));
  }
  return {choice, names};
}

bool wanted(const MethodSetting& setting, const GroupPlan& group, const ChoiceFilter& choice) {
  return choice(setting.text(), label(setting, group));
}

std::vector<MethodSetting> expand_settings(const SweepConfig& sweep) {
  std::vector<MethodSetting> settings;
  std::set<std::pair<std::string, ParamValues>> seen;
  for (const MethodConfig& config : sweep.methods)
    for (const ParamValues& values : expand(config)) {
      const auto method = make_method(config.name, values);
      if (seen.insert({config.name, param_values(method->all_params())}).second)
        settings.push_back({config.name, values, config.label});
    }
  return settings;
}

/// The problems of a config. Copies of heads have the values of the first, so only one copy takes part.
std::vector<CheckedView> single_views(const std::vector<DatasetConfig>& datasets) {
  std::vector<CheckedView> views = check_datasets(datasets);
  std::set<std::string> seen;
  std::erase_if(views, [&](const CheckedView& v) {
    return !seen.insert(v.dataset + " " + v.problem->id + " " + v.truth_fingerprint).second;
  });
  for (CheckedView& v : views) v.shape = Dataset::shape_of(*v.problem, {v.view.length, 1});
  return views;
}

/// Data that is held out must not be what is fitted to; the same capture at another length is worth a warning.
void refuse_fitted(const CheckedView& held_out, const std::vector<CheckedView>& fitted) {
  for (const CheckedView& view : fitted) {
    if (view.truth_fingerprint == held_out.truth_fingerprint)
      throw UsageError(
          fmt::format("held-out problem '{}' of {} is, value by value, '{}' of {}, which is fitted to: hold out "
                      "another capture, or "
                      "rows of this one (calibrate.fit: first_half)",
                      held_out.problem->id, held_out.dataset, view.problem->id, view.dataset));
    if (view.dataset == held_out.dataset && view.problem->id == held_out.problem->id)
      spdlog::warn("held-out problem '{}' of {} is fitted to at {} tokens: they share their first {}", view.problem->id,
                   view.dataset, view.shape.kv_len, std::min(view.shape.kv_len, held_out.shape.kv_len));
  }
}

/// The groups of one calibration; they refer to its config. The problems are those to fit to and those held out.
std::vector<GroupPlan> plan_groups(const CalibrateConfig& config, const std::vector<CheckedView>& fitted,
                                   const std::vector<CheckedView>& held_out) {
  std::vector<GroupPlan> groups;
  const bool global = config.scope == "global";
  const auto group_of = [&](const CheckedView& view) {
    return std::ranges::find(groups, global ? "all problems" : view.problem->id, &GroupPlan::id);
  };
  for (const CheckedView& view : fitted) {
    const auto found = group_of(view);
    if (found == groups.end()) {
      groups.push_back({&config, global ? "all problems" : view.problem->id, {view}, {}});
      continue;
    }
    const int heads = found->fitted.front().shape.q_heads;
    if (!global && view.shape.q_heads != heads)
      throw DataError(
          fmt::format("'{}' has {} query heads in {} and {} in {}: problems of one id must be the same heads",
                      view.problem->id, heads, found->fitted.front().dataset, view.shape.q_heads, view.dataset));
    found->fitted.push_back(view);
  }
  for (const CheckedView& view : held_out) {
    refuse_fitted(view, fitted);
    const auto found = group_of(view);
    if (found == groups.end() || (!global && found->fitted.front().shape.q_heads != view.shape.q_heads))
      throw UsageError(fmt::format("held-out problem '{}' of {}: no problem of that id and {} heads is calibrated",
                                   view.problem->id, view.dataset, view.shape.q_heads));
    found->held_out.push_back(view);
  }
  return groups;
}

/// What the calibration says on stderr, one line for each setting and group.
class CalibrationProgress {
 public:
  CalibrationProgress(int total, bool quiet) : total_(total), line_(quiet) {}

  void note(const std::string& text) const { line_.show(text); }
  void finished(const std::string& text) {
    ++done_;
    line_.keep(fmt::format("{}[{:>3}/{}] {}", line_.eta(done_, total_), done_, total_, text));
  }
  void end() const { line_.wipe(); }

 private:
  int total_, done_ = 0;
  StatusLine line_;
};

CalibrationGroup load_group(const GroupPlan& plan, const TruthCache& cache, const CalibrationProgress& progress) {
  const CalibrateConfig& config = *plan.config;
  CalibrationGroup group{plan.id, {}};
  const auto add = [&](const std::vector<CheckedView>& views, bool fitted) {
    for (const CheckedView& view : views)
      group.problems.push_back(
          load_scored(view, config.fit, fitted, cache,
                      {view.truth_fingerprint, config.sweep.truth_rows, config.sweep.seed}, [&](double share) {
                        progress.note(fmt::format("exact attention of {} {}: {:.0f}%", view.problem->id,
                                                  view.shape.kv_len, 100 * share));
                        return !interrupted;
                      }));
  };
  add(plan.fitted, true);
  add(plan.held_out, false);
  return group;
}

std::string summary(const std::vector<GroupOutcome>& outcomes) {
  const GroupOutcome& first = outcomes.front();
  if (!first.failure.empty()) return fmt::format("{}: {}", first.failure, first.reason);
  std::size_t units = 0, met = 0;
  for (const GroupOutcome& outcome : outcomes) {
    units += outcome.units.size();
    met += std::size_t(std::ranges::count(outcome.units, "ok", &UnitOutcome::status));
  }
  return first.units.front().status == "fixed" ? std::string("no knob: scored as it is")
                                               : fmt::format("{} of {} values meet their target", met, units);
}

ExitCode exit_code_of(const std::vector<CalibrationRecord>& records) {
  const auto count = [&](const char* status) {
    return std::ranges::count(records, status, &CalibrationRecord::status);
  };
  if (count("error") + count("not_reproduced") > 0) return kSomeCellsFailed;
  return count("unsupported") == std::ssize(records) ? kNothingMeasured : kAllDone;
}

/// A calibration under way: its folder and what it has found.
class Calibration {
 public:
  Calibration(const std::vector<CalibrateConfig>& configs, const CalibrateOptions& options,
              std::vector<MethodSetting> settings, std::string folder, int total)
      : configs_(configs),
        options_(options),
        settings_(std::move(settings)),
        folder_(std::move(folder)),
        progress_(total, options.quiet) {}

  void run(const std::vector<GroupPlan>& groups) {
    const TruthCache cache(TruthCache::default_folder());
    const ChoiceFilter choice = setting_filter(settings_, groups, options_.choice);
    for (const GroupPlan& plan : groups) {
      if (std::ranges::none_of(settings_, [&](const auto& s) { return wanted(s, plan, choice); })) continue;
      const CalibrationGroup group = load_group(plan, cache, progress_);
      for (const MethodSetting& setting : settings_)
        if (wanted(setting, plan, choice)) calibrate(setting, plan, group);
    }
  }

  ExitCode finish() {
    progress_.end();
    std::vector<CalibrationRecord> all = records_;
    all.insert(all.end(), written_.chosen.begin(), written_.chosen.end());
    if (!all.empty()) std::fputs(calibration_text(all).c_str(), stdout);
    for (const std::string& sentence : written_.left_out) fmt::print(stderr, "{}\n", sentence);
    if (interrupted) {
      fmt::print(stderr, "interrupted; what is finished is in {}\n", folder_);
      return kInterrupted;
    }
    fmt::print(stderr, "{}/calibration.h5: {} rows{}\n", folder_, records_.size(),
               std::filesystem::exists(folder_ + "/run.yaml")
                   ? fmt::format("; `salebench run {}/run.yaml` measures the values", folder_)
                   : "; no run.yaml, as there are no values to measure");
    return exit_code_of(records_);
  }

 private:
  void calibrate(const MethodSetting& setting, const GroupPlan& plan, const CalibrationGroup& group) {
    progress_.note(label(setting, plan) + " ...");
    const std::vector<GroupOutcome> outcomes = calibrate_group(setting, group, *plan.config, [&](int count) {
      progress_.note(fmt::format("{} | {} evaluations", label(setting, plan), count));
    });
    for (const GroupOutcome& outcome : outcomes)
      for (CalibrationRecord& r : calibration_records(setting, group, outcome, *plan.config))
        records_.push_back(std::move(r));
    written_ = write_calibration_folder(folder_, configs_, settings_, records_,
                                        {{"run", configs_.front().sweep.run},
                                         {"created_utc", utc_now()},
                                         {"argv", options_.command_line},
                                         {"config_yaml", configs_.front().sweep.text},
                                         {"provenance", provenance_json()}});
    progress_.finished(fmt::format("{} | {}", label(setting, plan), summary(outcomes)));
  }

  const std::vector<CalibrateConfig>& configs_;
  const CalibrateOptions& options_;
  std::vector<MethodSetting> settings_;
  std::string folder_;
  CalibrationProgress progress_;
  std::vector<CalibrationRecord> records_;
  WrittenCalibration written_;
};

void make_folder(const std::string& folder, bool force) {
  std::error_code error;
  if (!force && std::filesystem::exists(folder, error) && !std::filesystem::is_empty(folder, error))
    throw UsageError(
        fmt::format("{} exists: --force writes over its calibration; or choose another folder with -o", folder));
  std::filesystem::create_directories(folder, error);
  if (error) throw WriteError(fmt::format("cannot make {}: {}", folder, error.message()));
  std::filesystem::remove(folder + "/run.yaml", error);  // that of an earlier calibration would measure other values
}

}  // namespace

ExitCode run_calibration(const CalibrateOptions& options) {
  catch_interrupts();
  const std::vector<CalibrateConfig> configs = read_calibrate_configs(options.config, options.overrides);
  const CalibrateConfig& config = configs.front();
  omp_set_num_threads(threads_of(config.sweep));
  const std::vector<MethodSetting> settings = expand_settings(config.sweep);
  const std::vector<CheckedView> fitted = single_views(config.sweep.datasets), held_out = single_views(config.held_out);
  std::vector<GroupPlan> groups;
  for (const CalibrateConfig& each : configs)
    std::ranges::copy(plan_groups(each, fitted, held_out), std::back_inserter(groups));
  const ChoiceFilter choice = setting_filter(settings, groups, options.choice);
  for (const std::string& complaint : choice.complaints()) spdlog::warn("{}", complaint);
  int total = 0;
  for (const GroupPlan& group : groups)
    for (const MethodSetting& setting : settings) {
      if (!wanted(setting, group, choice)) continue;
      ++total;
      if (options.dry_run) fmt::print("{}\n", label(setting, group));
    }
  if (total == 0) {
    fmt::print(stderr, "nothing is left to calibrate\n");
    return kNothingMeasured;
  }
  if (options.dry_run) return kAllDone;
  const std::string folder = options.out.empty() ? "runs/" + config.sweep.run + "-calibration" : options.out;
  make_folder(folder, options.force);
  Calibration calibration(configs, options, settings, folder, total);
  try {
    calibration.run(groups);
  } catch (const Stopped&) {
    return calibration.finish();
  }
  return calibration.finish();
}

}  // namespace salebench
