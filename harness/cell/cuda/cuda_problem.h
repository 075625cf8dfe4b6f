// A cell's problem in device memory, its exact answer there, and the figures that compare an output with it.
#pragma once

#include "core/metrics.h"
#include "kernels/cuda/attention/attention.h"
#include "kernels/cuda/device/device_memory.h"

namespace salebench {

/// Q, K and V in the capture's type.
class DeviceTensors {
 public:
  DeviceTensors(const HostProblem& host, cuda::Dtype dtype);
  const cuda::DeviceProblem& problem() const { return problem_; }
  /// Writes other values of the same shape to the same places.
  void upload(const HostProblem& host);

 private:
  cuda::DeviceBuffer q_, k_, v_;
  cuda::DeviceProblem problem_;
};

/// Room for an output in the problem's type and its log-sum-exp.
struct DeviceOutput {
  explicit DeviceOutput(const Shape& shape);
  cuda::DeviceAttention view() const { return {output.data(), lse.data()}; }

  cuda::DeviceBuffer output;      ///< [q_heads, q_len, head_dim], 16 bits a value
  cuda::DeviceVector<float> lse;  ///< [q_heads, q_len]
};

/// Dense attention of the problem with float32 output, by cuda::exact_attention, whose error against double precision
/// is about 1e-6.
struct DeviceTruth {
  explicit DeviceTruth(const cuda::DeviceProblem& problem);

  cuda::DeviceVector<float> output, lse;
};

/// Sums of each head over all rows of an output against the device's truth, recall and counts from its mask. `exact`:
/// of exact attention over the mask; null where that is not known.
std::vector<HeadSums> sum_on_device(const cuda::DeviceProblem& problem, const DeviceTruth& truth, MaskView mask,
                                    const DeviceOutput& got, const DeviceOutput* exact, std::int64_t extra_pairs);

/// The same over the rows of a truth in double precision, on the CPU.
std::vector<HeadSums> sum_on_host(const cuda::DeviceProblem& problem, const HostProblem& host, const Truth& truth,
                                  const BlockMask& mask, const DeviceOutput& got, const DeviceOutput* exact,
                                  std::int64_t extra_pairs);

}  // namespace salebench
