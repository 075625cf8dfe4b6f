// Device memory with an owner, and host values brought there and back. Host code includes this without CUDA's headers.
#pragma once

#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/cuda/device/device_error.h"
#include "kernels/cuda/device/device_problem.h"

namespace salebench::cuda {

/// Device memory, 256-byte aligned, not initialised; of 0 bytes the pointer is null.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  /// Throws OutOfDeviceMemory, which says what was asked for and what is free, and leaves the device usable.
  explicit DeviceBuffer(std::size_t bytes);
  DeviceBuffer(DeviceBuffer&& other) noexcept { swap(other); }
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    DeviceBuffer(std::move(other)).swap(*this);
    return *this;
  }
  ~DeviceBuffer();

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

  void swap(DeviceBuffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

/// Bytes that all DeviceBuffers of this process hold now, and the most they ever held at once. What CUDA keeps for
/// itself (context, code, local memory) is not in it.
std::size_t device_bytes_held();
std::size_t device_bytes_peak();
/// Starts the peak anew at what is held now.
void reset_device_bytes_peak();

/// Sets each byte; 0xff makes NaN of all floating-point types.
void fill_bytes(void* device, std::size_t bytes, unsigned char value, Stream stream);

/// Enqueues a copy within device memory.
void copy_on_device(void* to, const void* from, std::size_t bytes, Stream stream);

/// Copies, after what the stream holds already, and waits.
void copy_to_device(void* device, const void* host, std::size_t bytes, Stream stream);
void copy_to_host(void* host, const void* device, std::size_t bytes, Stream stream);

/// Writes the values at `device` in the given type, rounded to nearest even as core/half.h does (too large becomes
/// infinity, NaN stays NaN), and waits. Allocates no device memory.
void upload_as(Dtype dtype, std::span<const float> values, void* device, Stream stream);

/// An array in device memory.
template <class T>
class DeviceVector {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  DeviceVector() = default;
  explicit DeviceVector(std::size_t count) : buffer_(count * sizeof(T)), count_(count) {}
  DeviceVector(std::span<const T> values, Stream stream) : DeviceVector(values.size()) { upload(values, stream); }

  T* data() const { return static_cast<T*>(buffer_.data()); }
  std::size_t size() const { return count_; }
  std::size_t bytes() const { return buffer_.bytes(); }

  /// At most size() values, to the front.
  void upload(std::span<const T> values, Stream stream) {
    copy_to_device(data(), values.data(), values.size_bytes(), stream);
  }
  /// The first values, as many as fit.
  void download(std::span<T> values, Stream stream) const {
    copy_to_host(values.data(), data(), values.size_bytes(), stream);
  }
  std::vector<T> host(Stream stream) const {
    std::vector<T> values(count_);
    download(values, stream);
    return values;
  }

 private:
  DeviceBuffer buffer_;
  std::size_t count_ = 0;
};

}  // namespace salebench::cuda
