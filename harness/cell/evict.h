// Cold caches: pushes memory out of every cache level before a sample.
#pragma once

#include <cstddef>
#include <span>

namespace salebench {

/// Evicts the lines of a range from all cache levels (clflush on x86; elsewhere a sweep over a large buffer).
void evict(std::span<const std::byte> range);

template <class T>
void evict_values(std::span<T> values) {
  evict(std::as_bytes(std::span<const T>(values)));
}

}  // namespace salebench
