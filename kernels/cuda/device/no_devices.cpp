// Stands in for devices.cu and methods/cuda in a build without CUDA.
#include "kernels/cuda/device/device_method.h"
#include "kernels/cuda/device/devices.h"

namespace salebench {

CudaDevices cuda_devices() {
  return {{}, 0, 0, "built without CUDA"};
}

std::string cuda::why_not(const Method&, const Shape&) {
  return "built without CUDA";
}

}  // namespace salebench
