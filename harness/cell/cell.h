// One cell, start to end: load, accuracy pass, timing, and the check that what was timed computed the right thing.
#pragma once

#include "datasets/truth_cache.h"
#include "harness/plan/plan.h"
#include "results/result_files.h"

namespace salebench {

/// Runs a planned cell in this process. Never throws for what the method or the data does: a failure is the status and
/// reason of the result. Only a crash, a hang or a kill escapes, which is why cells have processes of their own.
CellResult run_cell(const Plan& plan, const PlannedCell& cell, const TruthCache& cache);

/// The record of a cell before it has run: all that the plan knows.
CellRecord planned_record(const Plan& plan, const PlannedCell& cell);

}  // namespace salebench
