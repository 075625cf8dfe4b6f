// Device memory for tests of CUDA kernels, and problems rounded to the type that the device stores.
#pragma once

#include <cuda_runtime.h>

#include <stdexcept>
#include <vector>

#include "core/half.h"
#include "kernels/cuda/device/device_problem.h"

namespace salebench {

inline void check_cuda(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

/// An array in device memory. A new one is filled with bytes 0xff (NaN as a float), so that unwritten values show.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(std::size_t count) : count_(count) {
    check_cuda(cudaMalloc(&data_, std::max<std::size_t>(1, count) * sizeof(T)));
    check_cuda(cudaMemset(data_, 0xff, count * sizeof(T)));
  }
  explicit DeviceArray(const std::vector<T>& host) : DeviceArray(host.size()) {
    check_cuda(cudaMemcpy(data_, host.data(), count_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  ~DeviceArray() { cudaFree(data_); }

  T* data() const { return data_; }
  std::size_t size() const { return count_; }
  std::vector<T> host() const {
    std::vector<T> values(count_);
    check_cuda(cudaMemcpy(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }

 private:
  T* data_ = nullptr;
  std::size_t count_;
};

inline std::uint16_t to_bits(float value, cuda::Dtype dtype) {
  return dtype == cuda::Dtype::fp16 ? float_to_half(value) : float_to_bfloat16(value);
}
inline float from_bits(std::uint16_t bits, cuda::Dtype dtype) {
  return dtype == cuda::Dtype::fp16 ? half_to_float(bits) : bfloat16_to_float(bits);
}
inline std::vector<float> from_bits(const std::vector<std::uint16_t>& bits, cuda::Dtype dtype) {
  std::vector<float> values;
  values.reserve(bits.size());
  for (const std::uint16_t b : bits) values.push_back(from_bits(b, dtype));
  return values;
}

/// Rounds the values to the type in place, and returns their bits.
inline std::vector<std::uint16_t> round_to(std::vector<float>& values, cuda::Dtype dtype) {
  std::vector<std::uint16_t> bits;
  bits.reserve(values.size());
  for (float& value : values) {
    bits.push_back(to_bits(value, dtype));
    value = from_bits(bits.back(), dtype);
  }
  return bits;
}

/// A problem on the host, rounded to a storage type, and its copy on the device.
struct RoundedProblem {
  RoundedProblem(ProblemTensors tensors, cuda::Dtype type)
      : host(std::move(tensors)),
        dtype(type),
        q(round_to(host.q, type)),
        k(round_to(host.k, type)),
        v(round_to(host.v, type)) {}

  cuda::DeviceProblem view() const {
    return {host.shape, host.causal, host.scale, dtype, q.data(), k.data(), v.data(), host.sliding_window};
  }

  ProblemTensors host;
  cuda::Dtype dtype;
  DeviceArray<std::uint16_t> q, k, v;
};

}  // namespace salebench
