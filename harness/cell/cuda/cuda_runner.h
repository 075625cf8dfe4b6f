// Methods on a CUDA device.
#pragma once

#include <memory>

#include "harness/cell/runner.h"

namespace salebench {

/// Throws Unsupported, also in a build without CUDA.
std::unique_ptr<Runner> make_cuda_runner(const RunnerInputs& inputs);

}  // namespace salebench
