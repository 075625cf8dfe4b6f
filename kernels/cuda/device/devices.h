// The CUDA devices of this machine. Built without CUDA, there are none, and why_none says so.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace salebench {

struct CudaDevice {
  std::string name, uuid, compute_capability;
  int sms = 0;
  int clock_khz = 0;  ///< the default SM clock
  std::int64_t l2_bytes = 0, memory_bytes = 0;
};

struct CudaDevices {
  std::vector<CudaDevice> devices;
  int driver = 0, runtime = 0;  ///< versions as CUDA gives them, 13000 for 13.0
  std::string why_none;         ///< empty if the first device can be used
};

CudaDevices cuda_devices();

}  // namespace salebench
