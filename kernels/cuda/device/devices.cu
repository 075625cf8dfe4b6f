#include <cuda_runtime.h>

#include <cstdio>

#include "kernels/cuda/device/devices.h"
#include "kernels/cuda/device/images.h"

namespace salebench {
namespace {

int attribute(cudaDeviceAttr which, int device) {
  int value = 0;
  cudaDeviceGetAttribute(&value, which, device);
  return value;
}

std::string uuid_text(const cudaUUID_t& uuid) {
  std::string text = "GPU-";
  for (int i = 0; i < 16; ++i) {
    char byte[4];
    std::snprintf(byte, sizeof byte, "%02x", static_cast<unsigned>(static_cast<unsigned char>(uuid.bytes[i])));
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += byte;
  }
  return text;
}

}  // namespace

CudaDevices cuda_devices() {
  CudaDevices found;
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  cudaDriverGetVersion(&found.driver);
  cudaRuntimeGetVersion(&found.runtime);
  if (error != cudaSuccess || count == 0) {
    found.why_none = error == cudaSuccess ? "no CUDA device" : cudaGetErrorString(error);
    return found;
  }
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties{};
    if (cudaGetDeviceProperties(&properties, i) != cudaSuccess) continue;
    CudaDevice device;
    device.name = properties.name;
    device.uuid = uuid_text(properties.uuid);
    device.compute_capability = std::to_string(properties.major) + "." + std::to_string(properties.minor);
    device.sms = properties.multiProcessorCount;
    device.clock_khz = attribute(cudaDevAttrClockRate, i);
    device.l2_bytes = properties.l2CacheSize;
    device.memory_bytes = static_cast<std::int64_t>(properties.totalGlobalMem);
    if (found.devices.empty() && !cuda::runs_on(SALEBENCH_CUDA_IMAGES, properties.major, properties.minor))
      found.why_none = "no code for " + device.name + " (compute capability " + device.compute_capability +
                       ") in this build of " SALEBENCH_CUDA_IMAGES
                       ": configure with -DSALEBENCH_CUDA_ARCHITECTURES=native";
    found.devices.push_back(device);
  }
  return found;
}

}  // namespace salebench
