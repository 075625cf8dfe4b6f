// `salebench run`: from a config to a folder of results.
#pragma once

#include <string>
#include <vector>

#include "harness/plan/name_filter.h"
#include "harness/support/errors.h"

namespace salebench {

struct RunOptions {
  std::string config;
  std::string out;  ///< folder; empty: runs/<run name>
  std::vector<std::string> overrides;
  Choice choice;
  std::string shard;  ///< "2/3": the second of three parts; empty for the whole
  std::string note;
  std::string command_line;  ///< for provenance
  bool dry_run = false, quick = false, in_process = false, quiet = false;
  bool resume = false, retry_failed = false, force = false;
};

ExitCode run_sweep(const RunOptions& options);

/// The hidden verb `cell FOLDER ID`: what a worker does.
ExitCode run_worker_cell(const std::string& folder, const std::string& id);

}  // namespace salebench
