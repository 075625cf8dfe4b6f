#include "harness/plan/config.h"

#include <fmt/format.h>
#include <glob.h>
#include <omp.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "core/registry.h"
#include "harness/plan/backends.h"
#include "harness/plan/yaml_reader.h"

namespace salebench {
namespace {

namespace fs = std::filesystem;

constexpr double kDay = 86400;
constexpr int kMostThreads = 4096;

MeasureConfig read_measure(YamlMap map) {
  MeasureConfig m;
  m.cache = map.choice("cache", m.cache, {"cold", "hot"});
  m.warmup = map.number("warmup", m.warmup, 0, kDay);
  m.min_time = map.number("min_time", m.min_time, 0, kDay);
  m.max_time = map.number("max_time", m.max_time, 0, kDay);
  if (!map.has("min_time")) m.min_time = std::min(m.min_time, m.max_time);
  if (!map.has("max_time")) m.max_time = std::max(m.min_time, m.max_time);
  m.max_noise = map.number("max_noise", m.max_noise, 0, 1);
  m.min_samples = map.integer("min_samples", m.min_samples, 1, 100000);
  m.pause = map.number("pause", m.pause, 0, 60);
  m.rounds = map.integer("rounds", m.rounds, 1, 1000);
  m.baseline = map.text("baseline", m.baseline);
  if (m.baseline != "none") {
    try {
      method_info(m.baseline);
    } catch (const ParamError& error) {
      map.document().fail(map.required("baseline"), map.path_of("baseline"), error.what());
    }
  }
  if (m.max_time < m.min_time)
    map.document().fail(map.node(), map.path_of("max_time"),
                        fmt::format("{} is less than min_time {}", m.max_time, m.min_time));
  map.done();
  return m;
}

/// A path without "." and "..", as the kernel walks it: ".." after a symbolic link is the parent of the link's target.
fs::path walked(const fs::path& path) {
  fs::path at;
  std::error_code ignored;
  for (const fs::path& part : path) {
    if (part == ".") continue;
    if (part != ".." || !fs::is_directory(at, ignored))
      at /= part;  // after what is no folder, ".." stays, so that the path leads nowhere as it does for the kernel
    else
      at = (fs::is_symlink(at, ignored) ? fs::canonical(at) : at).parent_path();
  }
  return at;
}

/// A path as the config writes it: relative to the config, so that a config works from any folder.
std::string beside_config(const YamlDocument& document, const std::string& path) {
  return walked(fs::absolute(document.path()).parent_path() / path);
}

/// The document's text then names the same files from another folder.
void keep_paths(const YamlDocument& document, const YAML::Node& node) {
  if (node.IsScalar() && !node.Scalar().empty()) document.resolved(node, beside_config(document, node.Scalar()));
  for (const auto& item : node)
    if (node.IsSequence()) keep_paths(document, item);
}

/// OMP_NUM_THREADS, of which the outermost level counts; 0 where it is unset or no number of threads.
int threads_of_environment() {
  const char* text = std::getenv("OMP_NUM_THREADS");
  const int threads = text ? std::atoi(text) : 0;
  return threads >= 1 && threads <= kMostThreads ? threads : 0;
}

/// What people call something, in one line.
std::string read_label(YamlMap& map) {
  std::string label = map.text("label", "");
  if (std::ranges::any_of(label, [](unsigned char c) { return c < ' ' || c == 0x7f; }))
    map.document().fail(map.required("label"), map.path_of("label"), "must be one line of text");
  return label;
}

/// The files that a glob names, sorted; none where a file of that very name exists.
std::vector<std::string> files_of_glob(const std::string& pattern) {
  std::error_code ignored;
  std::vector<std::string> files;
  if (fs::exists(pattern, ignored) || pattern.find_first_of("*?[") == std::string::npos) return files;
  glob_t found{};
  if (::glob(pattern.c_str(), 0, nullptr, &found) == 0) files.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  ::globfree(&found);
  return files;
}

/// One capture, or those that a glob names, each with the label and the end of its own name.
std::vector<DatasetConfig> read_dataset(const YamlDocument& document, const YAML::Node& node,
                                        const std::string& key_path) {
  YamlMap map(document, node, key_path);
  DatasetConfig dataset;
  dataset.path = map.text("path", "");
  dataset.label = read_label(map);
  dataset.problems = map.texts("problems", {"*"});
  dataset.lengths = map.integers("lengths", {0}, 1, 1 << 30);
  dataset.repeats = map.integers("repeat", {1}, 1, 4096);
  map.done();
  dataset.path = beside_config(document, dataset.path);
  document.resolved(map.required("path"), dataset.path);
  const std::vector<std::string> files = files_of_glob(dataset.path);
  if (files.empty()) return {dataset};
  std::vector<DatasetConfig> all;
  for (const std::string& file : files) {
    all.push_back(dataset);
    all.back().path = file, all.back().glob = dataset.path;
    if (!dataset.label.empty() && files.size() > 1) all.back().label += "/" + fs::path(file).stem().string();
  }
  return all;
}

/// Checks every value against the method's own parameters.
MethodConfig read_method(const YamlDocument& document, const std::string& name, const YAML::Node& node,
                         const std::string& key_path) {
  YamlMap map(document, node, key_path);
  MethodConfig config{name, read_label(map), {}};
  const auto method = method_info(name).make();
  for (std::size_t i = 0; i < method->all_params().size(); ++i) {  // whose allowed values may depend on those before
    Param param = method->all_params()[i];
    if (!map.has(param.name())) continue;
    if (param.type() == "path") keep_paths(document, map.required(param.name()));
    std::vector<std::string> values;
    for (const std::string& text : map.axis(param.name(), {}, param.type() == "int")) {
      try {
        param.parse(param.type() == "path" ? beside_config(document, text) : text);
        method->all_params();
      } catch (const ParamError& error) {
        document.fail(map.required(param.name()), map.path_of(param.name()), error.what());
      }
      values.push_back(param.text());
    }
    config.axes.emplace_back(param.name(), std::move(values));
  }
  map.done();
  for (const ParamValues& values : expand(config)) {
    try {
      make_method(name, values);
    } catch (const ParamError& error) {
      document.fail(node, key_path, fmt::format("with {}: {}", param_text(values), error.what()));
    }
  }
  return config;
}

/// "all", a number or numbers of GPUs, as nvidia-smi counts what CUDA may see.
void read_devices(YamlMap& root, SweepConfig& sweep) {
  constexpr int kMostDevices = 1024;
  sweep.all_devices = root.texts("devices", {}) == std::vector<std::string>{"all"};
  if (sweep.all_devices) return;
  sweep.devices = root.integers("devices", {}, 0, kMostDevices);
  for (const int number : sweep.devices)
    if (std::ranges::count(sweep.devices, number) > 1)
      root.document().fail(root.required("devices"), "devices", fmt::format("{} is there twice", number));
}

std::vector<MethodConfig> read_methods(const YamlDocument& document, const YamlMap& map) {
  std::vector<MethodConfig> configs;
  for (const auto& entry : map.node()) {
    const std::string name = entry.first.Scalar(), key_path = map.path_of(name);
    try {
      method_info(name);
    } catch (const ParamError& error) {
      document.fail(entry.first, key_path, error.what());
    }
    if (entry.second.IsSequence()) {  // several grids of one method
      for (std::size_t i = 0; i < entry.second.size(); ++i)
        configs.push_back(read_method(document, name, entry.second[i], fmt::format("{}.{}", key_path, i)));
    } else {
      configs.push_back(read_method(document, name, entry.second, key_path));
    }
  }
  std::map<std::string, std::string> labels;  // to the methods that they stand for
  for (const MethodConfig& config : configs) {
    if (config.label.empty() || config.label == config.name) continue;
    const auto of_label = [&](const MethodInfo& info) { return info.name == config.label; };
    if (std::ranges::any_of(methods(), of_label) ||
        labels.try_emplace(config.label, config.name).first->second != config.name)
      document.fail(map.node(), map.path_of(config.name) + ".label",
                    fmt::format("'{}' is that of another method: tables could not tell them apart", config.label));
  }
  if (configs.empty()) document.fail(map.node(), "methods", "names no method; `salebench list` shows them");
  return configs;
}

}  // namespace

std::vector<ParamValues> expand(const MethodConfig& config) {
  std::vector<ParamValues> combinations = {{}};
  for (const auto& [name, values] : config.axes) {
    std::vector<ParamValues> longer;
    for (const ParamValues& combination : combinations)
      for (const std::string& value : values) {
        longer.push_back(combination);
        longer.back()[name] = value;
      }
    combinations = std::move(longer);
  }
  return combinations;
}

YamlDocument open_config(const std::string& path, const std::vector<std::string>& overrides) {
  YamlDocument document(path, overrides);
  // In the document, so that the stored config says with how many threads it ran, whatever the variable is then.
  document.set_default("threads", std::to_string(threads_of_environment()));
  document.set_default("run", fs::path(path).stem());
  return document;
}

std::string run_name(const std::string& path, const std::vector<std::string>& overrides) {
  const YamlDocument document = open_config(path, overrides);
  return YamlMap(document, document.root(), "").text("run", fs::path(path).stem());
}

std::vector<DatasetConfig> read_datasets(const YamlDocument& document, YamlMap& map) {
  std::vector<DatasetConfig> configs;
  const YAML::Node datasets = map.required("datasets");
  if (!datasets.IsSequence() || datasets.size() == 0)
    document.fail(datasets, map.path_of("datasets"), "must be a list of captures");
  std::map<std::string, std::string> labels;  // to the paths that they stand for
  for (std::size_t i = 0; i < datasets.size(); ++i) {
    const std::string key_path = fmt::format("{}.{}", map.path_of("datasets"), i);
    for (DatasetConfig& dataset : read_dataset(document, datasets[i], key_path)) {
      if (!dataset.label.empty() && labels.try_emplace(dataset.label, dataset.path).first->second != dataset.path)
        document.fail(datasets[i], key_path + ".label", fmt::format("'{}' is that of another capture", dataset.label));
      configs.push_back(std::move(dataset));
    }
  }
  return configs;
}

SweepConfig read_sweep(const YamlDocument& document, YamlMap& root) {
  SweepConfig sweep;
  sweep.path = walked(fs::absolute(document.path()));
  if (root.integer("version", 1, 0, 1000) != 1)
    document.fail(root.required("version"), "version", "must be 1, the only one there is");
  sweep.run = root.text("run", fs::path(document.path()).stem());
  sweep.backends = root.texts("backend", {"cpu"});
  for (const std::string& backend : sweep.backends) {
    try {
      backend_called(backend);
    } catch (const std::invalid_argument& error) {
      document.fail(root.required("backend"), "backend", error.what());
    }
  }
  read_devices(root, sweep);
  sweep.measure = read_measure(root.map("measure"));
  YamlMap limits = root.map("limits");
  sweep.cell_timeout = limits.number("cell_timeout", sweep.cell_timeout, 0.1, kDay);
  limits.done();
  for (const std::string& what : root.texts("save", {})) {
    if (what != "masks") document.fail(root.required("save"), "save", fmt::format("'{}' is not masks", what));
    sweep.save_masks = true;
  }
  YamlMap truth = root.map("truth");
  sweep.truth_rows = truth.integer("rows", 0, 0, 1 << 30);
  truth.done();
  sweep.threads = root.integer("threads", 0, 0, kMostThreads);
  sweep.seed = std::uint64_t(root.integer("seed", 1, 0, 1 << 30));
  for (const char* section : {"datasets", "methods", "calibrate"}) root.has(section);
  root.done();  // before what must be there, so that a misspelt key is named instead of the one that it should be
  sweep.datasets = read_datasets(document, root);
  root.required("methods");
  sweep.methods = read_methods(document, root.map("methods"));
  sweep.text = document.text();
  return sweep;
}

SweepConfig read_config(const std::string& path, const std::vector<std::string>& overrides) {
  const YamlDocument document = open_config(path, overrides);
  YamlMap root(document, document.root(), "");
  SweepConfig sweep = read_sweep(document, root);
  if (root.has("calibrate"))
    document.fail(root.required("calibrate"), "calibrate",
                  "a sweep has no such section: this config is for `salebench calibrate`, which writes the run.yaml "
                  "that measures what it found");
  return sweep;
}

int threads_of(const SweepConfig& sweep) {
  return sweep.threads > 0 ? sweep.threads : omp_get_num_procs();
}

}  // namespace salebench
