// What the tests of CUDA code share: they skip without a device, and hold outputs to the same bounds.
#pragma once

#include <gtest/gtest.h>

#include "kernels/cuda/device/device_problem.h"
#include "kernels/cuda/device/devices.h"

namespace salebench {

/// A fixture that overrides SetUp() calls this one first and returns if IsSkipped().
class NeedsCudaDevice : public testing::Test {
 protected:
  void SetUp() override {
    const CudaDevices found = cuda_devices();
    if (!found.why_none.empty()) GTEST_SKIP() << found.why_none;
  }
};

inline constexpr double kLseTolerance = 2e-5;  ///< of a log-sum-exp, relative to max(1, |lse|)

/// Relative L2 error of an output that is stored in the type.
inline double output_tolerance(cuda::Dtype dtype) {
  return dtype == cuda::Dtype::fp16 ? 1e-3 : 4e-3;
}

}  // namespace salebench
