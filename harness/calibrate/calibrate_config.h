// The config of `salebench calibrate`: that of a sweep with a section `calibrate`.
#pragma once

#include <string>
#include <vector>

#include "harness/calibrate/knob_search.h"
#include "harness/plan/config.h"

namespace salebench {

struct CalibrateConfig {
  SweepConfig sweep;
  std::vector<Target> targets;
  std::string scope = "head";      ///< a value for each head; layer: for each problem; global: one for all
  std::string fit = "first_half";  ///< rows that values are fitted to; or even_blocks, or all
  SearchSettings search;
  bool heads_choose = false;            ///< among settings of a method that differ in its head_params() alone
  std::vector<DatasetConfig> held_out;  ///< scored, not fitted to
};

/// The calibrations that a config asks for: one for each pair of a scope and a search, all else being the same. Throws
/// UsageError as read_config() does, and for a method whose knob the config sets.
std::vector<CalibrateConfig> read_calibrate_configs(const std::string& path, const std::vector<std::string>& overrides);

}  // namespace salebench
