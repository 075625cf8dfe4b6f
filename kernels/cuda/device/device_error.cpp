#include "kernels/cuda/device/device_error.h"

#include "kernels/cuda/device/launch.cuh"

namespace salebench::cuda {

void throw_device_error(cudaError_t error, const char* call, const char* file, int line) {
  cudaGetLastError();  // clears the error, unless it is sticky
  const cudaError_t next = cudaStreamQuery(nullptr);
  const bool sticky = next != cudaSuccess && next != cudaErrorNotReady;
  cudaGetLastError();
  throw DeviceError(std::string(file) + ":" + std::to_string(line) + ": " + call + ": " + cudaGetErrorString(error),
                    sticky);
}

}  // namespace salebench::cuda
