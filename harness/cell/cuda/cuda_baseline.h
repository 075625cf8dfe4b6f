// The baseline of a cell on a CUDA device: the fastest dense kernel that is built in, or another method's attention.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "core/method.h"
#include "kernels/cuda/device/device_memory.h"
#include "kernels/cuda/device/device_method.h"
#include "kernels/cuda/device/device_timer.h"

namespace salebench {

class CudaBaseline {
 public:
  /// Writes to the output that `cell` writes to. For the method "dense" it times each exact dense kernel of this
  /// build that takes the problem, and keeps the fastest.
  CudaBaseline(const std::string& method, const cuda::DeviceInputs& cell, bool cold);

  /// The dense kernel with its version, such as "cudnn 9.19.0"; for another method its name.
  const std::string& kernel() const { return kernel_; }

  /// Seconds of one run of its attention.
  double sample();

 private:
  void take_fastest_dense(const cuda::DeviceInputs& in);

  cuda::DeviceTimer timer_;
  cuda::DeviceVector<std::uint32_t> mask_;
  std::unique_ptr<cuda::DeviceMethod> bound_;
  std::string kernel_;
};

}  // namespace salebench
