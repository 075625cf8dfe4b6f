// float to fp8 e4m3 bit patterns and back: 4 exponent bits with bias 7, 3 mantissa bits, no infinities (OCP FP8,
// "E4M3").
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

namespace salebench {

inline constexpr float kMaxE4m3 = 448.0f;

/// float to e4m3, round to nearest even; what is too large becomes 448, NaN stays NaN.
inline std::uint8_t float_to_e4m3(float value) {
  const auto sign = std::uint8_t(std::bit_cast<std::uint32_t>(value) >> 24 & 0x80u);
  if (std::isnan(value)) return sign | 0x7fu;
  const float magnitude = std::min(std::fabs(value), kMaxE4m3);
  if (magnitude < 0x1p-6f) return sign | std::uint8_t(std::lrintf(magnitude * 0x1p9f));  // subnormal: units of 2^-9
  const std::uint32_t m = std::bit_cast<std::uint32_t>(magnitude);
  const std::uint32_t rounded = m + 0x7ffffu + (m >> 20 & 1u);
  return sign | std::uint8_t((rounded >> 20) - (120u << 3));
}

/// e4m3 to float, exact.
inline float e4m3_to_float(std::uint8_t bits) {
  const std::uint32_t sign = std::uint32_t(bits & 0x80u) << 24, magnitude = bits & 0x7fu;
  if (magnitude == 0x7fu) return std::bit_cast<float>(sign | 0x7fc00000u);
  if (magnitude < 8) return (sign ? -1.0f : 1.0f) * float(magnitude) * 0x1p-9f;
  return std::bit_cast<float>(sign | (magnitude + (120u << 3)) << 20);
}

}  // namespace salebench
