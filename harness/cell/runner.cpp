#include "harness/cell/runner.h"

#include "harness/cell/cpu_runner.h"
#include "harness/cell/cuda/cuda_runner.h"

namespace salebench {

std::unique_ptr<Runner> make_runner(const std::string& backend, const RunnerInputs& inputs) {
  return backend == "cuda" ? make_cuda_runner(inputs) : make_cpu_runner(inputs);
}

}  // namespace salebench
