// What a failing device throws. Host code includes this without CUDA's headers.
#pragma once

#include <stdexcept>
#include <string>

namespace salebench::cuda {

/// A CUDA call failed. The text holds the place, the call and CUDA's words.
class DeviceError : public std::runtime_error {
 public:
  DeviceError(const std::string& what, bool sticky) : std::runtime_error(what), sticky_(sticky) {}
  /// The process has lost its device: a kernel faulted, and each later CUDA call fails with the same error. CUDA
  /// reports a fault in whichever call comes next, so the call in the text may be innocent.
  bool sticky() const { return sticky_; }

 private:
  bool sticky_;
};

/// The device has no such memory left; it works on.
class OutOfDeviceMemory : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace salebench::cuda
