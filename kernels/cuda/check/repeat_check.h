// Whether a run repeats another, found out on the device. All results
// are small, lie in device memory and are the same for equal inputs.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "kernels/cuda/device/device_problem.h"

namespace salebench::cuda {

enum class ValueType { fp16, bf16, float32 };
constexpr ValueType value_type(Dtype dtype) {
  return dtype == Dtype::fp16 ? ValueType::fp16 : ValueType::bf16;
}

/// How values differ from expected ones. Values with equal bits differ by 0, be they NaN.
struct ValueDifference {
  double difference_squared = 0;  ///< sum of (value - expected)^2
  double expected_squared = 0;    ///< sum of expected^2
  std::int64_t differing = 0;     ///< values whose bits differ
  std::int64_t not_finite = 0;    ///< values that are infinite or NaN, expected or not

  /// NaN or infinite if a value that differs is; against expected zeros, the difference itself.
  double relative_l2() const {
    return std::sqrt(expected_squared > 0 ? difference_squared / expected_squared : difference_squared);
  }
};

/// Compares `count` values, both 16-byte aligned, and writes one ValueDifference. Reads each value once.
std::size_t compare_values_bytes();
void compare_values(ValueType type, const void* values, const void* expected, std::size_t count, void* workspace,
                    ValueDifference* difference, Stream stream);

/// Writes in how many 32-bit words two masks of `words` words differ.
void count_differing_words(const std::uint32_t* bits, const std::uint32_t* expected, std::size_t words,
                           std::uint64_t* differing, Stream stream);

}  // namespace salebench::cuda
