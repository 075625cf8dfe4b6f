// One cell at work, on any backend, in this order: load, prepare, accuracy pass, timing with every sample checked,
// record.
#pragma once

#include <stdexcept>

#include "datasets/truth_cache.h"
#include "harness/cell/runner.h"
#include "harness/plan/plan.h"
#include "results/result_files.h"

namespace salebench {

/// What was computed is wrong, whatever its time.
struct Incorrect : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// One untimed run with every check of mask and output, the mask before attention walks along it. Throws Incorrect.
PhaseTimes checked_run(Runner& runner, const RowSet& only = {});

/// Fills the result or throws what run_cell makes its status.
void measure_cell(const Plan& plan, const PlannedCell& cell, const TruthCache& cache, CellResult& result);

/// Two remarks as one.
std::string joined(const std::string& a, const std::string& b);

}  // namespace salebench
