// `--dry-run`: what a run would do, and about how long it would take.
#pragma once

#include "harness/plan/plan.h"

namespace salebench {

/// Prints the cells, the skipped ones with their reasons, and a time estimate from a short probe of the dense kernel.
void print_dry_run(const Plan& plan);

}  // namespace salebench
