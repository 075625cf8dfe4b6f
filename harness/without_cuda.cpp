// Stands in for cuda_runner.cpp in a build without CUDA.
#include "harness/cuda_runner.h"

namespace salebench {

std::string why_not_on_cuda(const Method&, const Shape&) {
  return "built without CUDA";
}

std::unique_ptr<Runner> make_cuda_runner(const RunnerInputs&) {
  throw Unsupported("built without CUDA");
}

}  // namespace salebench
