// Compiled without contraction of a * b + c into one rounding; see CMakeLists.txt.
#include "datasets/synthetic/random.h"

#include <bit>
#include <cmath>

namespace salebench::portable {
namespace {

/// c[0] + c[1] x + c[2] x^2 + ..., from the highest power down.
template <std::size_t n>
double polynomial(const std::array<double, n>& c, double x) {
  double sum = c[n - 1];
  for (std::size_t i = n - 1; i-- > 0;) sum = sum * x + c[i];
  return sum;
}

/// 1 / (first + k step)! with alternating or equal signs: the Taylor series of sin, cos and exp.
template <std::size_t n>
constexpr std::array<double, n> inverse_factorials(int first, int step, double sign) {
  std::array<double, n> c{};
  double factorial = 1, sign_now = 1;
  int reached = 1;
  for (std::size_t k = 0; k < n; ++k) {
    for (; reached <= first + int(k) * step; ++reached) factorial *= reached;
    c[k] = sign_now / factorial;
    sign_now *= sign;
  }
  return c;
}

constexpr auto kSin = inverse_factorials<9>(1, 2, -1);
constexpr auto kCos = inverse_factorials<10>(0, 2, -1);
constexpr auto kExp = inverse_factorials<15>(0, 1, 1);
/// atanh(s) / s in powers of s^2.
constexpr std::array<double, 12> kAtanh = {1.0,      1.0 / 3,  1.0 / 5,  1.0 / 7,  1.0 / 9,  1.0 / 11,
                                           1.0 / 13, 1.0 / 15, 1.0 / 17, 1.0 / 19, 1.0 / 21, 1.0 / 23};

// Constants in two parts: products of the first with an integer below 2^20 are exact.
constexpr double kHalfPiHigh = 0x1.921fb544p0, kHalfPiLow = 0x1.0b4611a626331p-34;
constexpr double kLn2High = 0x1.62e42fee00000p-1, kLn2Low = 0x1.a39ef35793c76p-33;

/// The integer nearest to x, |x| < 2^51, by pushing the fraction out of the mantissa.
double nearest(double x) {
  constexpr double kShift = 0x1.8p52;
  return (x + kShift) - kShift;
}

/// 2^n for a normal result.
double power_of_two(int n) {
  return std::bit_cast<double>(std::uint64_t(n + 1023) << 52);
}

constexpr std::array<double, 8> kCentreAbove = {
    3.3871328727963666080e0,  1.3314166789178437745e+2, 1.9715909503065514427e+3, 1.3731693765509461125e+4,
    4.5921953931549871457e+4, 6.7265770927008700853e+4, 3.3430575583588128105e+4, 2.5090809287301226727e+3};
constexpr std::array<double, 8> kCentreBelow = {1.0,
                                                4.2313330701600911252e+1,
                                                6.8718700749205790830e+2,
                                                5.3941960214247511077e+3,
                                                2.1213794301586595867e+4,
                                                3.9307895800092710610e+4,
                                                2.8729085735721942674e+4,
                                                5.2264952788528545610e+3};
constexpr std::array<double, 8> kTailAbove = {
    1.42343711074968357734e0, 4.63033784615654529590e0,  5.76949722146069140550e0,  3.64784832476320460504e0,
    1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4};
constexpr std::array<double, 8> kTailBelow = {1.0,
                                              2.05319162663775882187e0,
                                              1.67638483018380384940e0,
                                              6.89767334985100004550e-1,
                                              1.48103976427480074590e-1,
                                              1.51986665636164571966e-2,
                                              5.47593808499534494600e-4,
                                              1.05075007164441684324e-9};

}  // namespace

Counter philox(Counter c, std::uint64_t key) {
  std::uint32_t low = std::uint32_t(key), high = std::uint32_t(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t(0xD2511F53u) * c[0], b = std::uint64_t(0xCD9E8D57u) * c[2];
    c = {std::uint32_t(b >> 32) ^ c[1] ^ low, std::uint32_t(b), std::uint32_t(a >> 32) ^ c[3] ^ high, std::uint32_t(a)};
    low += 0x9E3779B9u;
    high += 0xBB67AE85u;
  }
  return c;
}

SinCos sin_cos(double angle) {
  constexpr double kTwoOverPi = 0x1.45f306dc9c883p-1;
  const double quarter = nearest(angle * kTwoOverPi);
  const double x = (angle - quarter * kHalfPiHigh) - quarter * kHalfPiLow;  // within pi / 4
  const double square = x * x;
  const double s = x * polynomial(kSin, square), c = polynomial(kCos, square);
  switch (std::int64_t(quarter) & 3) {
    case 0:
      return {s, c};
    case 1:
      return {c, -s};
    case 2:
      return {-s, -c};
    default:
      return {-c, s};
  }
}

double exp(double x) {
  constexpr double kPerLn2 = 0x1.71547652b82fep0;
  const double n = nearest(x * kPerLn2);
  const double rest = (x - n * kLn2High) - n * kLn2Low;
  return polynomial(kExp, rest) * power_of_two(int(n));
}

double log(double x) {
  const std::uint64_t bits = std::bit_cast<std::uint64_t>(x);
  int exponent = int(bits >> 52) - 1023;
  double mantissa = std::bit_cast<double>((bits & 0xfffffffffffffu) | std::uint64_t(1023) << 52);
  if (mantissa > 1.4142135623730951) {
    mantissa *= 0.5;
    ++exponent;
  }
  const double s = (mantissa - 1) / (mantissa + 1);
  return exponent * kLn2High + (2 * s * polynomial(kAtanh, s * s) + exponent * kLn2Low);
}

double normal_quantile(double p) {
  const double q = p - 0.5;
  if (std::fabs(q) <= 0.425) {
    const double r = 0.180625 - q * q;
    return q * polynomial(kCentreAbove, r) / polynomial(kCentreBelow, r);
  }
  const double r = std::sqrt(-log(q < 0 ? p : 1 - p)) - 1.6;
  const double tail = polynomial(kTailAbove, r) / polynomial(kTailBelow, r);
  return q < 0 ? -tail : tail;
}

double Random::uniform(std::uint32_t stream, std::uint32_t head, std::uint32_t row, std::uint32_t column) const {
  return unit(philox({column / 4, row, head, stream}, seed_)[column % 4]);
}

void Random::normal(std::uint32_t stream, std::uint32_t head, std::uint32_t row, std::span<float> values) const {
  for (std::size_t i = 0; i < values.size(); i += 4) {
    const Counter bits = philox({std::uint32_t(i / 4), row, head, stream}, seed_);
    for (std::size_t j = 0; j < 4 && i + j < values.size(); ++j) values[i + j] = float(normal_quantile(unit(bits[j])));
  }
}

}  // namespace salebench::portable
