// Memory that is kept from call to call, so that the kernels allocate nothing once warm.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

namespace salebench::cpu {

/// Uninitialised bytes on cache lines; large ones on huge pages where the system grants them. Grows, never shrinks.
class AlignedBuffer {
 public:
  /// At least `size` bytes; what was there before is lost when it grows.
  std::byte* reserve(std::size_t size) {
    if (size <= size_) return data_.get();
    constexpr std::size_t kHugePage = std::size_t(2) << 20;
    const std::size_t alignment = size >= kHugePage ? kHugePage : 64;
    size = (size + alignment - 1) / alignment * alignment;
    size_ = 0;
    data_.reset();  // before the new one, as both might not fit
    data_.reset(static_cast<std::byte*>(std::aligned_alloc(alignment, size)));
    if (!data_) throw std::bad_alloc();
    size_ = size;
#ifdef MADV_HUGEPAGE
    if (alignment == kHugePage) madvise(data_.get(), size, MADV_HUGEPAGE);
#endif
    return data_.get();
  }
  std::byte* data() const {
    return data_.get();
  }
  float* floats() const {
    return reinterpret_cast<float*>(data_.get());
  }

 private:
  struct Free {
    void operator()(std::byte* p) const { std::free(p); }
  };
  std::size_t size_ = 0;
  std::unique_ptr<std::byte, Free> data_;
};

}  // namespace salebench::cpu
