// A sweep as its YAML config says it, checked.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/params.h"

namespace salebench {

/// How cells are timed. Times in seconds.
struct MeasureConfig {
  std::string cache = "cold";  ///< cold: evict inputs and outputs before each sample; hot: leave them
  double warmup = 0.1;
  double min_time = 0.3;    ///< time a cell for at least this long
  double max_time = 5;      ///< stop here even if noisy
  double max_noise = 0.02;  ///< stop when the 95 % interval of the median is within +- this share
  int min_samples = 5;
  double pause = 0;  ///< idle time before each sample, so that all start from the same power state
  int rounds = 1;    ///< measurements of each cell, each in a process of its own, in turn with the other cells
  std::string baseline = "dense";  ///< the method sampled in turn with each cell; "none" for no speedup
};

/// Which problems of a capture take part, and how much of them.
struct DatasetConfig {
  std::string path;                   ///< absolute
  std::string label;                  ///< what people call it; empty for an end of its path
  std::string glob;                   ///< what named it among others; empty where that was its path
  std::vector<std::string> problems;  ///< globs
  std::vector<int> lengths;           ///< prefixes; 0 for the whole
  std::vector<int> repeats;           ///< copies of the heads
};

/// One grid of a method: each parameter with the values it takes.
struct MethodConfig {
  std::string name;
  std::string label;  ///< what people call these settings; empty for the method's name
  std::vector<std::pair<std::string, std::vector<std::string>>> axes;
};

/// All combinations of a method's axes, in the order written, the last axis fastest.
std::vector<ParamValues> expand(const MethodConfig& config);

struct SweepConfig {
  std::string path;  ///< of the config
  std::string text;  ///< the config, with overrides
  std::string run;
  std::vector<DatasetConfig> datasets;
  std::vector<std::string> backends;
  bool all_devices = false;  ///< whether cells are spread over all GPUs
  std::vector<int> devices;  ///< or over these; empty for the first
  std::vector<MethodConfig> methods;
  MeasureConfig measure;
  double cell_timeout = 600;  ///< seconds
  bool save_masks = false;
  int truth_rows = 0;  ///< rows that accuracy is measured on; 0 for all
  int threads = 0;     ///< 0 for all cores; OMP_NUM_THREADS where the config does not say
  std::uint64_t seed = 1;
};

class YamlDocument;
class YamlMap;

/// A config with `key=value` overrides; threads are those of OMP_NUM_THREADS where it does not say. Throws UsageError.
YamlDocument open_config(const std::string& path, const std::vector<std::string>& overrides);

/// The name of a config's run, without a look at the rest. Throws UsageError.
std::string run_name(const std::string& path, const std::vector<std::string>& overrides);

/// The list of captures under the key `datasets` of a map. Throws UsageError.
std::vector<DatasetConfig> read_datasets(const YamlDocument& document, YamlMap& map);

/// The sweep that a config's root describes; the section `calibrate` is the caller's to read. Throws UsageError.
SweepConfig read_sweep(const YamlDocument& document, YamlMap& root);

/// Threads that a cell's kernels use.
int threads_of(const SweepConfig& sweep);

/// Reads and checks a config with `key=value` overrides. Throws UsageError with file, line, column, and the nearest
/// right name for a wrong one.
SweepConfig read_config(const std::string& path, const std::vector<std::string>& overrides);

}  // namespace salebench
