// What is summed up of an output's errors, on the CPU and on a device alike: this header is compiled for both.
#pragma once

#include <cmath>

#ifdef __CUDACC__
#define SALEBENCH_HOST_DEVICE __host__ __device__
#else
#define SALEBENCH_HOST_DEVICE
#endif

namespace salebench {

/// Sums over the channels of one row, in arithmetic T. Several lanes may share a row's channels: `sums` add up, the
/// largest `max_abs` counts.
template <class T>
struct RowSums {
  enum Sum { kDifferenceSquared, kExactSquared, kGotSquared, kProduct, kAbsolute, kSums };

  T sums[kSums] = {};
  T max_abs = 0;

  SALEBENCH_HOST_DEVICE void add(T got, T exact) {
    const T difference = got - exact, absolute = difference < 0 ? -difference : difference;
    sums[kDifferenceSquared] += difference * difference;
    sums[kExactSquared] += exact * exact;
    sums[kGotSquared] += got * got;
    sums[kProduct] += got * exact;
    sums[kAbsolute] += absolute;
    if (!(absolute <= max_abs)) max_abs = absolute;
  }
};

/// Sums over the scored rows of one head, or of several, from which the errors follow.
struct ErrorSums {
  double difference_squared = 0;  ///< sum of (o - o*)^2
  double exact_squared = 0;       ///< sum of o*^2
  double product = 0;             ///< sum of o o*
  double absolute = 0;            ///< sum of |o - o*|
  double max_abs = 0;             ///< largest |o - o*|
  double cos_min = 1;             ///< smallest cosine of a row with the exact one

  ErrorSums() = default;
  template <class T>
  SALEBENCH_HOST_DEVICE explicit ErrorSums(const RowSums<T>& row)
      : difference_squared(row.sums[row.kDifferenceSquared]),
        exact_squared(row.sums[row.kExactSquared]),
        product(row.sums[row.kProduct]),
        absolute(row.sums[row.kAbsolute]),
        max_abs(row.max_abs) {
    const double got_squared = row.sums[row.kGotSquared], norms = std::sqrt(got_squared * exact_squared);
    cos_min = norms > 0 ? product / norms : double(got_squared == exact_squared);
  }

  SALEBENCH_HOST_DEVICE void add(const ErrorSums& other) {
    difference_squared += other.difference_squared;
    exact_squared += other.exact_squared;
    product += other.product;
    absolute += other.absolute;
    if (max_abs < other.max_abs) max_abs = other.max_abs;
    if (other.cos_min < cos_min) cos_min = other.cos_min;
  }
};

}  // namespace salebench
