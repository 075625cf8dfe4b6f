#include "harness/calibrate/calibrate_output.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <optional>
#include <set>
#include <string_view>

#include "core/atomic_file.h"
#include "harness/calibrate/head_choice.h"
#include "harness/plan/calibrated_knob.h"
#include "results/result_files.h"

namespace salebench {
namespace {

constexpr std::size_t kLongName = 120;

/// The rows of one setting and target.
using Rows = std::vector<CalibrationRecord*>;

/// A file name that says what is in it; a number keeps names apart that would be equal.
std::string file_name(const CalibrationRecord& r, std::set<std::string>& taken) {
  std::string stem =
      fmt::format("{}{}{}_{}={}{}{}", r.method, r.settings.empty() ? "" : "_", r.settings, r.metric, r.target,
                  r.scope == "head" ? "" : "_" + r.scope, r.search == "bisection" ? "" : "_" + r.search);
  for (char& c : stem)
    if (!std::isalnum(static_cast<unsigned char>(c)) && std::string_view("._=+-").find(c) == std::string_view::npos)
      c = '_';
  if (stem.size() > kLongName) stem.resize(kLongName);
  std::string name = stem + ".json";
  for (int n = 2; !taken.insert(name).second; ++n) name = fmt::format("{}-{}.json", stem, n);
  return name;
}

/// Appends the head's figures to its problem, which is the last or a new one.
void add_head(CalibrationFile& file, const CalibrationRecord& r) {
  std::vector<CalibratedProblem>& all = file.problems;
  if (all.empty() || r.head == 0)
    all.push_back({r.dataset, r.problem.id, r.fingerprint, r.problem.shape.kv_len, {}, {}});
  if (!std::isnan(r.fitted.density)) all.back().fit.push_back(r.fitted);
  if (!std::isnan(r.held_out.density)) all.back().held_out.push_back(r.held_out);
}

/// The rows as a calibration file; one without values if nothing was found.
CalibrationFile file_of(const MethodSetting& setting, const Rows& rows) {
  const CalibrationRecord& first = *rows.front();
  CalibrationFile file = file_without_values(setting, first);
  file.global = first.scope == "global";
  for (const CalibrationRecord* r : rows) {
    if (r->head < 0) continue;
    add_head(file, *r);
    if (std::isnan(r->fitted.density)) continue;
    file.value = r->value;
    std::vector<double>& values = file.values[r->problem.id];
    if (values.size() == std::size_t(r->head)) values.push_back(r->value);  // another prompt has the same values
  }
  return file;
}

/// The single value of a knob that heads must share, if there is one.
std::optional<double> only_value(const Rows& rows) {
  std::set<double> values;
  for (const CalibrationRecord* r : rows)
    if (r->head >= 0) values.insert(r->value);
  return values.size() == 1 ? std::optional(*values.begin()) : std::nullopt;
}

YAML::Node dataset_node(const DatasetConfig& dataset) {
  YAML::Node node;
  node["path"] = dataset.path;
  if (!dataset.label.empty()) node["label"] = dataset.label;
  node["problems"] = dataset.problems;
  if (dataset.lengths != std::vector<int>{0}) node["lengths"] = dataset.lengths;
  if (dataset.repeats != std::vector<int>{1}) node["repeat"] = dataset.repeats;
  return node;
}

/// The sweep's config with other methods, absolute paths, and no section `calibrate`.
std::string run_yaml(const CalibrateConfig& config, const YAML::Node& methods) {
  YAML::Node root = YAML::Load(config.sweep.text);
  root.remove("calibrate");
  root["run"] = config.sweep.run + "-calibrated";
  root["datasets"] = YAML::Node(YAML::NodeType::Sequence);
  for (const auto* list : {&config.sweep.datasets, &config.held_out})
    for (const DatasetConfig& dataset : *list) root["datasets"].push_back(dataset_node(dataset));
  root["methods"] = methods;
  YAML::Emitter out;
  out << YAML::Comment("Measures what `salebench calibrate` found: salebench run on this file.") << YAML::Newline;
  out << root;
  return std::string(out.c_str()) + "\n";
}

/// The rows of a setting at a target in one calibration, as far as there are values.
Rows rows_of(const CalibrateConfig& config, const MethodSetting& setting, const Target& target,
             std::vector<CalibrationRecord>& records) {
  Rows rows;
  for (CalibrationRecord& r : records)
    if (belongs(r, config, setting, target)) rows.push_back(&r);
  return rows;
}

YAML::Node grid_of(const MethodSetting& setting) {
  YAML::Node grid(YAML::NodeType::Map);
  if (!setting.label.empty()) grid["label"] = setting.label;
  for (const auto& [name, value] : setting.values) grid[name] = value;
  return grid;
}

/// Writes the file of a setting at a target, where a method can read it, and returns what run.yaml says of the two:
/// nothing where no run can have these values.
std::optional<YAML::Node> write_setting(const std::string& folder, const MethodSetting& setting, const Rows& rows,
                                        std::set<std::string>& taken_names) {
  YAML::Node grid = grid_of(setting);
  const std::string& knob = rows.front()->knob;
  if (knob.empty()) return grid;
  if (const std::string param = knob_file_param(setting.method, setting.values); !param.empty()) {
    const std::string name = file_name(*rows.front(), taken_names);
    for (CalibrationRecord* r : rows) r->file = name;
    write_calibration(folder + "/" + name, file_of(setting, rows));
    grid[param] = name;
    return grid;
  }
  const auto value = only_value(rows);
  if (!value) return std::nullopt;
  grid[knob] = fmt::format("{}", *value);
  return grid;
}

/// Whether a setting that the CPU could not score needs no values, as a dense kernel for devices does, and the sweep
/// runs elsewhere.
bool runs_unscored(const CalibrateConfig& config, const MethodSetting& setting) {
  const auto method = make_method(setting.method, setting.values);
  return !knob_param(method->all_params()) && config.sweep.backends != std::vector<std::string>{"cpu"};
}

/// Writes the file of what heads chose, and returns what run.yaml says of it.
YAML::Node write_choice(const std::string& folder, HeadChoice& choice, std::set<std::string>& taken_names) {
  YAML::Node grid = grid_of(choice.common);
  const std::string name = file_name(choice.records.front(), taken_names);
  for (CalibrationRecord& r : choice.records) r.file = name;
  write_calibration(folder + "/" + name, choice.file);
  grid[knob_file_param(choice.common.method, choice.common.values)] = name;
  return grid;
}

}  // namespace

WrittenCalibration write_calibration_folder(const std::string& folder, const std::vector<CalibrateConfig>& configs,
                                            const std::vector<MethodSetting>& settings,
                                            std::vector<CalibrationRecord>& records,
                                            const std::map<std::string, std::string>& attributes) {
  WrittenCalibration written;
  std::set<std::string> names, fixed;
  YAML::Node methods;
  const auto add = [&](const CalibrateConfig& config, const MethodSetting& setting, const Target& target) {
    const Rows rows = rows_of(config, setting, target, records);
    if (rows.empty() && runs_unscored(config, setting) && fixed.insert(setting.text()).second)
      methods[setting.method].push_back(grid_of(setting));
    // A setting without a knob is the same for every target and calibration.
    if (rows.empty() || (rows.front()->knob.empty() && !fixed.insert(setting.text()).second)) return;
    if (const auto grid = write_setting(folder, setting, rows, names))
      methods[setting.method].push_back(*grid);
    else
      written.left_out.push_back(fmt::format(
          "{} at {}: its {} is one value for all heads and problems of a run, and these need several; the values are "
          "in calibration.h5, no file is written for them, and run.yaml leaves them out",
          setting.text(), target.text(), rows.front()->knob));
  };
  for (const CalibrateConfig& config : configs)
    for (const MethodSetting& setting : settings)
      for (const Target& target : config.targets) add(config, setting, target);
  for (const CalibrateConfig& config : configs)
    for (const Target& target : config.targets) {
      if (!config.heads_choose) continue;
      for (HeadChoice& choice : choose_by_head(config, settings, target, records)) {
        methods[choice.common.method].push_back(write_choice(folder, choice, names));
        std::ranges::move(choice.records, std::back_inserter(written.chosen));
      }
    }
  std::vector<CalibrationRecord> all = records;
  all.insert(all.end(), written.chosen.begin(), written.chosen.end());
  write_calibration_table(folder + "/calibration.h5", attributes, all);
  if (methods.size() == 0) return written;
  const std::string text = run_yaml(configs.front(), methods);
  write_file_atomically(folder + "/run.yaml", text.data(), text.size());
  return written;
}

}  // namespace salebench
