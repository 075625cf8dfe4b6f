// The cells of a run, one after another or, where there are several GPUs, one on each at a time.
#pragma once

#include <string>
#include <vector>

#include "datasets/truth_cache.h"
#include "harness/plan/plan.h"
#include "harness/run/progress.h"
#include "harness/run/run_folder.h"
#include "harness/run/run_state.h"

namespace salebench {

/// Runs the cells and adds their results to the state. Cells for the CPU run alone, as they need all its cores; then
/// those for GPUs, the longest first where there are several. in_process: here, without workers. Ends early once
/// interrupted. Throws WriteError.
void run_queue(const Plan& plan, const std::vector<const PlannedCell*>& cells, const RunFolder& folder, bool in_process,
               const TruthCache& cache, Progress& progress, RunState& state);

}  // namespace salebench
