#include "harness/plan/calibrated_knob.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "core/registry.h"
#include "datasets/calibration_file.h"
#include "datasets/dataset.h"

namespace salebench {
namespace {

/// One value a captured head.
std::vector<double> values_for(const CalibrationFile& file, const std::string& path, const std::string& problem_id,
                               int heads) {
  if (file.global) return std::vector<double>(std::size_t(heads), file.value);
  const auto found = file.values.find(problem_id);
  if (found == file.values.end()) {
    std::vector<std::string> known;
    for (const auto& [id, values] : file.values) known.push_back(id);
    throw DataError(
        fmt::format("{} has no values for problem '{}'; it has {}; calibrate on this one too, or with "
                    "scope: global",
                    path, problem_id, known.empty() ? "none" : fmt::format("{}", fmt::join(known, ", "))));
  }
  if (int(found->second.size()) != heads)
    throw Unsupported(fmt::format("{} has values for {} heads of '{}', which has {} here; calibrate on this capture",
                                  path, found->second.size(), problem_id, heads));
  return found->second;
}

/// Hands the method the settings that its heads chose, if they did.
void set_head_settings(Method& method, const CalibrationFile& file, const std::string& path,
                       const std::string& problem_id, std::size_t captured_heads, int q_heads) {
  const auto found = file.head_settings.find(problem_id);
  if (found == file.head_settings.end()) return method.set_head_settings({});
  const std::vector<ParamValues>& settings = found->second;
  if (settings.size() != captured_heads)
    throw DataError(
        fmt::format("{} has {} thresholds and {} scans for '{}'", path, captured_heads, settings.size(), problem_id));
  std::vector<ParamValues> of_head;
  for (int head = 0; head < q_heads; ++head) of_head.push_back(settings[std::size_t(head) % settings.size()]);
  try {
    method.set_head_settings(of_head);
  } catch (const ParamError& error) {
    throw DataError(fmt::format("{}: head_settings of '{}': {}", path, problem_id, error.what()));
  }
}

/// Parameters that the calibration had otherwise, as "bits=8, block=64x64".
std::string other_settings(const CalibrationFile& file, const Params& params, const std::string& own_param) {
  std::string text;
  for (const auto& [name, value] : param_values(params)) {
    const auto then = file.settings.find(name);
    if (name == own_param || then == file.settings.end() || then->second == value) continue;
    text += fmt::format("{}{}={}", text.empty() ? "" : ", ", name, then->second);
  }
  return text;
}

}  // namespace

const Param* knob_param(const Params& params) {
  const auto found = std::ranges::find_if(params, [](const Param& param) { return param.knob() != nullptr; });
  return found == params.end() ? nullptr : &*found;
}

std::string knob_file_param(const std::string& method, const ParamValues& values) {
  const auto scratch = make_method(method, values);
  Params params = scratch->all_params();
  const Param* knob = knob_param(params);
  if (!knob) return {};
  for (Param& param : params) {
    if (param.type() != "path") continue;
    param.parse("probe");
    if (!knob->knob()->file.empty()) return param.name();
  }
  return {};
}

std::string read_calibrated_knob(Method& method, const std::string& name, const std::string& problem_id,
                                 const std::string& fingerprint, const Shape& shape, int repeat) {
  const Params params = method.all_params();
  const Param* param = knob_param(params);
  if (!param || param->knob()->file.empty()) return {};
  Knob& knob = *param->knob();
  const CalibrationFile file = read_calibration(knob.file);
  const int version = method_info(name).version;
  if (file.method != name || file.parameter != param->name())
    throw Unsupported(fmt::format("{} holds values of {}.{}, not of {}.{}", knob.file, file.method, file.parameter,
                                  name, param->name()));
  if (file.method_version != version)
    throw Unsupported(fmt::format("{} was calibrated with version {} of {}, which is at {} now; calibrate again",
                                  knob.file, file.method_version, name, version));
  const std::vector<double> values = values_for(file, knob.file, problem_id, shape.q_heads / repeat);
  for (const double value : values)
    if (!(value >= param->low() && value <= param->high()))
      throw DataError(fmt::format("{}: {} is outside {}", knob.file, value, param->allowed()));
  set_head_settings(method, file, knob.file, problem_id, values.size(), shape.q_heads);
  knob.of_head.clear();
  for (int head = 0; head < shape.q_heads; ++head) knob.of_head.push_back(values[std::size_t(head) % values.size()]);
  std::string remark;
  const bool same_data = std::ranges::any_of(file.problems, [&](const CalibratedProblem& p) {
    return !p.fit.empty() && p.problem == problem_id && p.fingerprint == fingerprint;
  });
  if (!same_data) remark = "calibrated on other data";
  if (const std::string other = other_settings(file, params, knob_file_param(name, param_values(params)));
      !other.empty())
    remark += fmt::format("{}calibrated with {}", remark.empty() ? "" : "; ", other);
  return remark;
}

std::string note_target(Method& method, CellResult& result) {
  const Params params = method.all_params();
  const Param* knob = knob_param(params);
  if (!knob || knob->knob()->file.empty()) return {};
  const CalibrationFile file = read_calibration(knob->knob()->file);
  const Figure& figure = calibrated_figure(file.metric);
  CellRecord& cell = result.cell;
  cell.target_metric = file.metric, cell.target_scope = file.scope, cell.target = file.target;
  double worst = kNoValue;
  for (const HeadRecord& head : result.heads) worst = worse(figure, worst, head.*figure.member);
  return fmt::format("calibrated for {} {:g}{}; over all rows {:.3g}, worst head {:.3g}", file.metric, file.target,
                     file.scope == "head"    ? " a head"
                     : file.scope == "layer" ? " a problem"
                                             : " of all problems",
                     cell.*figure.member, worst);
}

}  // namespace salebench
