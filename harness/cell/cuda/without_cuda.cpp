// Stands in for cuda_runner.cpp in a build without CUDA.
#include "harness/cell/cuda/cuda_runner.h"

namespace salebench {

std::unique_ptr<Runner> make_cuda_runner(const RunnerInputs&) {
  throw Unsupported("built without CUDA");
}

}  // namespace salebench
