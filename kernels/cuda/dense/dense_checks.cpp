#include <cuda_runtime.h>

#include <stdexcept>

#include "kernels/cuda/dense/dense_builtin.h"

namespace salebench::cuda {

std::string why_not_hopper() {
  int device = 0, major = 0, minor = 0;
  if (cudaGetDevice(&device) != cudaSuccess) {
    cudaGetLastError();
    return "no CUDA device";
  }
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
  if (major == 9 && minor == 0) return {};
  return "it runs on compute capability 9.0 (Hopper) only, and this device has " + std::to_string(major) + "." +
         std::to_string(minor);
}

void check_plan(const DenseKernel& kernel, const DeviceProblem& p, const DeviceAttention& out) {
  p.shape.check();
  const std::string why = why_not(kernel, p);
  if (!why.empty()) throw std::invalid_argument(kernel.name() + ": " + why);
  if (!out.output) throw std::invalid_argument(kernel.name() + ": a dense plan needs an output");
}

}  // namespace salebench::cuda
