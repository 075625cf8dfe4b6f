// `salebench calibrate`: for each method, the cheapest values of its knob whose error meets a target.
#pragma once

#include <string>
#include <vector>

#include "harness/plan/name_filter.h"
#include "harness/support/errors.h"

namespace salebench {

struct CalibrateOptions {
  std::string config;
  std::string out;  ///< folder; empty: runs/<run name>-calibration
  std::vector<std::string> overrides;
  Choice choice;  ///< globs on "method settings | problem", or on the part before the bar
  std::string command_line;
  bool dry_run = false, quiet = false, force = false;
};

/// Calibrates in this process and prints a table. What is finished is written at once, so an interrupted calibration
/// keeps it. Throws UsageError, DataError and WriteError.
ExitCode run_calibration(const CalibrateOptions& options);

}  // namespace salebench
