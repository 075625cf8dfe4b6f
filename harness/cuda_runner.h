// Methods on a CUDA device.
#pragma once

#include <memory>
#include <string>

#include "harness/runner.h"

namespace salebench {

/// Why the method, as it is parametrised, has nothing to run on CUDA devices; empty if it has. Needs no device.
std::string why_not_on_cuda(const Method& method, const Shape& shape);

/// Throws Unsupported, also in a build without CUDA.
std::unique_ptr<Runner> make_cuda_runner(const RunnerInputs& inputs);

}  // namespace salebench
