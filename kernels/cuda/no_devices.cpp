// Stands in for devices.cu in a build without CUDA.
#include "kernels/cuda/devices.h"

namespace salebench {

CudaDevices cuda_devices() {
  return {{}, 0, 0, "built without CUDA"};
}

}  // namespace salebench
