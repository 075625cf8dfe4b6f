// Owners of CUDA's events and of pinned host memory.
#pragma once

#include <algorithm>
#include <utility>

#include "kernels/cuda/device/launch.cuh"

namespace salebench::cuda {

class Event {
 public:
  Event() { SALEBENCH_CUDA_CHECK(cudaEventCreate(&event_)); }
  Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  Event& operator=(Event&&) = delete;
  ~Event() {
    if (event_) cudaEventDestroy(event_);
  }

  void record(Stream stream) const { SALEBENCH_CUDA_CHECK(cudaEventRecord(event_, stream)); }
  void wait() const { SALEBENCH_CUDA_CHECK(cudaEventSynchronize(event_)); }
  double seconds_since(const Event& start) const {
    float milliseconds = 0;
    SALEBENCH_CUDA_CHECK(cudaEventElapsedTime(&milliseconds, start.event_, event_));
    return milliseconds * 1e-3;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

/// Host memory that kernels read and write under the same address, over the bus; holds zeros at first.
template <class T>
class PinnedArray {
 public:
  explicit PinnedArray(std::size_t count) {
    void* data = nullptr;
    SALEBENCH_CUDA_CHECK(cudaHostAlloc(&data, count * sizeof(T), cudaHostAllocMapped));
    data_ = static_cast<T*>(data);
    std::fill_n(data_, count, T());
  }
  PinnedArray(PinnedArray&&) = delete;
  ~PinnedArray() { cudaFreeHost(data_); }

  T* data() const { return data_; }
  T& operator[](std::size_t i) const { return data_[i]; }

 private:
  T* data_;
};

}  // namespace salebench::cuda
