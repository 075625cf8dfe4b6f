// Random numbers that are the same on every machine, compiler and number of threads: a counter-based generator and
// transforms that use only integers and IEEE additions, multiplications, divisions and square roots in a fixed order.
// The standard library's distributions and transcendental functions differ between libraries, so none is used.
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace salebench::portable {

using Counter = std::array<std::uint32_t, 4>;

/// Philox 4x32-10: four random words of a counter under a key. Source: Salmon et al., Parallel random numbers: as easy
/// as 1, 2, 3, SC 2011.
Counter philox(Counter counter, std::uint64_t key);

/// Bits to (0, 1): (bits + 1/2) / 2^32, exact.
inline double unit(std::uint32_t bits) {
  return (double(bits) + 0.5) * 0x1p-32;
}

struct SinCos {
  double sin, cos;
};

/// Sine and cosine of an angle in radians, |angle| <= 2^20; absolute error below 3e-16.
SinCos sin_cos(double angle);
/// e^x for |x| <= 700; relative error below 4e-16.
double exp(double x);
/// Natural logarithm of a normal x > 0; relative error below 4e-16, absolute near x = 1.
double log(double x);
/// The normal quantile: what a standard normal value stays below with probability p, 1e-10 < p < 1 - 1e-10. Relative
/// error below 2e-15. Source: Wichura, algorithm AS 241, 1988.
double normal_quantile(double p);

/// Uniform numbers in (0, 1), addressed by what they are for: a stream (tensor or purpose), a head, a row and a column.
class Random {
 public:
  explicit Random(std::uint64_t seed) : seed_(seed) {}

  double uniform(std::uint32_t stream, std::uint32_t head, std::uint32_t row, std::uint32_t column) const;
  /// Standard normal values of columns 0, 1, ... of a row; none is beyond 6.4.
  void normal(std::uint32_t stream, std::uint32_t head, std::uint32_t row, std::span<float> values) const;

 private:
  std::uint64_t seed_;
};

}  // namespace salebench::portable
