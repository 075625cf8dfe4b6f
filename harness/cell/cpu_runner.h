// Methods on the CPU.
#pragma once

#include <memory>

#include "harness/cell/runner.h"

namespace salebench {

std::unique_ptr<Runner> make_cpu_runner(const RunnerInputs& inputs);

}  // namespace salebench
