#include "kernels/cuda/hopper/hopper_here.h"

#include "kernels/cuda/device/launch.cuh"

namespace salebench::cuda {

const char* why_no_hopper() {
#ifdef SALEBENCH_HOPPER
  const int major = device_attribute(cudaDevAttrComputeCapabilityMajor);
  const int minor = device_attribute(cudaDevAttrComputeCapabilityMinor);
  return major == 9 && minor == 0 ? nullptr : "the device is no Hopper (sm_90)";
#else
  return "this build has no code for sm_90a";
#endif
}

}  // namespace salebench::cuda
