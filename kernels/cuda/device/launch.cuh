// Errors of CUDA calls as exceptions, and the choice of a kernel by a run-time type or size.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <stdexcept>
#include <string>
#include <utility>

#include "kernels/cuda/device/device_error.h"
#include "kernels/cuda/device/device_problem.h"

namespace salebench::cuda {

/// Throws a DeviceError with the call, its place and CUDA's text, and takes back an error that CUDA would report again.
[[noreturn]] void throw_device_error(cudaError_t error, const char* call, const char* file, int line);

/// Throws DeviceError unless the call succeeded.
inline void check_call(cudaError_t error, const char* call, const char* file, int line) {
  if (error != cudaSuccess) throw_device_error(error, call, file, line);
}

/// Throws std::invalid_argument with the reason, if there is one.
inline void require(const char* why_not) {
  if (why_not) throw std::invalid_argument(why_not);
}

/// An attribute of the current device. Throws DeviceError.
inline int device_attribute(cudaDeviceAttr which) {
  int device = 0, value = 0;
  check_call(cudaGetDevice(&device), "cudaGetDevice", __FILE__, __LINE__);
  check_call(cudaDeviceGetAttribute(&value, which, device), "cudaDeviceGetAttribute", __FILE__, __LINE__);
  return value;
}

/// Calls body(T(), std::integral_constant<int, head_dim>()) for the problem's storage type and head_dim.
template <class Body>
void dispatch(Dtype dtype, int head_dim, const Body& body) {
  const auto with_dim = [&](auto type) {
    if (head_dim == 64)
      body(type, std::integral_constant<int, 64>());
    else
      body(type, std::integral_constant<int, 128>());
  };
  if (dtype == Dtype::fp16)
    with_dim(__half());
  else
    with_dim(__nv_bfloat16());
}

constexpr int ceil_div(int a, int b) {
  return (a + b - 1) / b;
}
constexpr std::size_t round_up_bytes(std::size_t bytes) {
  return (bytes + 255) / 256 * 256;
}

/// Hands out aligned parts of a workspace, in the order in which its size was added up; with a null base it only adds.
class WorkspaceCursor {
 public:
  explicit WorkspaceCursor(void* base) : base_(static_cast<char*>(base)) {}

  template <class T>
  T* take(std::size_t count) {
    char* const at = base_ ? base_ + used_ : nullptr;
    used_ += round_up_bytes(count * sizeof(T));
    return reinterpret_cast<T*>(at);
  }
  std::size_t used() const { return used_; }

 private:
  char* base_;
  std::size_t used_ = 0;
};

}  // namespace salebench::cuda

#define SALEBENCH_CUDA_CHECK(call) ::salebench::cuda::check_call((call), #call, __FILE__, __LINE__)
