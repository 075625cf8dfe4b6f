#include "harness/calibrate/calibrate_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <map>

#include "core/registry.h"
#include "harness/calibrate/head_choice.h"
#include "harness/plan/calibrated_knob.h"
#include "harness/plan/yaml_reader.h"

namespace salebench {
namespace {

std::vector<Target> read_targets(YamlMap map) {
  std::vector<Target> targets;
  std::string names;
  for (const Figure& figure : figures()) {
    if (!figure.target) continue;
    const std::string metric = figure.calibrated;
    names += (names.empty() ? "" : ", ") + metric;
    for (const std::string& text : map.texts(metric, {})) {
      const double most = figure.better == Better::larger ? 1 : std::numeric_limits<double>::max();
      double limit = 0;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), limit);
      if (error != std::errc() || end != text.data() + text.size() || !(limit > 0 && limit <= most))
        map.document().fail(map.required(metric), map.path_of(metric),
                            fmt::format("'{}' is not a number above 0{}", text, most == 1 ? ", up to 1" : ""));
      targets.push_back({metric, limit});
    }
  }
  map.done();
  if (targets.empty())
    map.document().fail(map.node(), "calibrate.target", fmt::format("is empty: name a target, one of {}", names));
  return targets;
}

SearchSettings read_search(YamlMap& map) {
  SearchSettings s;
  s.tolerance = map.number("tolerance", s.tolerance, 0, 1);
  s.rounds = map.integer("rounds", s.rounds, 2, 1000);
  s.smallest = map.number("smallest", s.smallest, 1e-12, 0.5);
  s.start = map.number("start", s.start, 0, std::numeric_limits<double>::max());
  s.factor = map.number("factor", s.factor, 0.01, 0.99);
  s.stop = map.number("stop", s.stop, 0, std::numeric_limits<double>::max());
  return s;
}

/// Calibration finds the knob's value, so the config must not set it.
void refuse_set_knobs(const YamlDocument& document, const YAML::Node& methods, const SweepConfig& sweep) {
  for (const MethodConfig& config : sweep.methods) {
    ParamValues first;  // which parameters there are may depend on others
    for (const auto& [name, values] : config.axes) first[name] = values.front();
    const auto method = make_method(config.name, first);
    const Params params = method->all_params();
    const Param* knob = knob_param(params);
    for (const auto& [name, values] : config.axes)
      if (knob && (name == knob->name() || name == knob_file_param(config.name, first)))
        document.fail(methods[config.name], fmt::format("methods.{}.{}", config.name, name),
                      fmt::format("calibration finds the values of {}; leave it out", knob->name()));
  }
}

/// Heads can choose where each has a value of its own, among settings that differ in what heads may have for
/// themselves.
void refuse_no_choice(const YamlDocument& document, const YAML::Node& node, const SweepConfig& sweep,
                      const std::vector<std::string>& scopes) {
  if (!std::ranges::count(scopes, "head"))
    document.fail(node, "calibrate.heads_choose", "heads choose with scope: head only");
  std::map<std::pair<std::string, ParamValues>, int> settings;  // that differ in nothing else
  for (const MethodConfig& config : sweep.methods)
    for (const ParamValues& values : expand(config))
      if (!make_method(config.name)->head_params().empty() &&
          ++settings[{config.name, shared_by_heads({config.name, values})}] > 1)
        return;
  std::string known;
  for (const MethodInfo& info : methods())
    if (const auto own = make_method(info.name)->head_params(); !own.empty())
      known += fmt::format("; heads of {} may differ in {}", info.name, fmt::join(own, ", "));
  document.fail(node, "calibrate.heads_choose", "no method has two settings that heads could choose from" + known);
}

}  // namespace

std::vector<CalibrateConfig> read_calibrate_configs(const std::string& path,
                                                    const std::vector<std::string>& overrides) {
  const YamlDocument document = open_config(path, overrides);
  YamlMap root(document, document.root(), "");
  CalibrateConfig config;
  config.sweep = read_sweep(document, root);
  root.required("calibrate");
  refuse_set_knobs(document, root.required("methods"), config.sweep);
  YamlMap map = root.map("calibrate");
  const std::vector<std::string> scopes = map.choices("scope", config.scope, {"head", "layer", "global"});
  const std::vector<std::string> searches = map.choices("search", config.search.kind, {"bisection", "paper"});
  config.fit = map.choice("fit", config.fit, {"first_half", "even_blocks", "all"});
  config.search = read_search(map);
  config.heads_choose = map.choice("heads_choose", "false", {"false", "true"}) == "true";
  if (config.heads_choose) refuse_no_choice(document, root.required("calibrate"), config.sweep, scopes);
  YamlMap held_out = map.map("held_out");
  if (held_out.has("datasets")) config.held_out = read_datasets(document, held_out);
  held_out.done();
  map.has("target");
  map.done();
  map.required("target");
  config.targets = read_targets(map.map("target"));
  config.sweep.text = document.text();  // with the paths of held_out
  std::vector<CalibrateConfig> all;
  for (const std::string& scope : scopes)
    for (const std::string& search : searches) {
      all.push_back(config);
      all.back().scope = scope, all.back().search.kind = search;
    }
  return all;
}

}  // namespace salebench
