// A cell on each backend. They fill the result or throw what run_cell makes its status.
#pragma once

#include <string>

#include "datasets/truth_cache.h"
#include "harness/plan.h"
#include "results/result_files.h"

namespace salebench {

void run_cpu_cell(const Plan& plan, const PlannedCell& cell, const TruthCache& cache, CellResult& result);
void run_cuda_cell(const Plan& plan, const PlannedCell& cell, const TruthCache& cache, CellResult& result);

/// Why no CUDA kernel takes the cell's problem, whatever the method; empty if they do. Needs no device.
std::string why_not_on_cuda(const PlannedCell& cell);

}  // namespace salebench
