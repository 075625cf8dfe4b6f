// Selecting and comparing masks in tests.
#pragma once

#include <bit>
#include <cstdint>
#include <string>

#include "core/registry.h"

namespace salebench {

/// The mask of a method, by its tuned selection or by its plain one.
inline BlockMask select(const std::string& name, const ProblemTensors& p, const ParamValues& values, bool fast = true) {
  const auto method = make_method(name, values);
  BlockMask mask(grid_of(*method, p.view()), p.shape.q_heads);
  if (fast)
    method->select_fast(p.view(), mask.view());
  else
    method->select(p.view(), mask.view());
  return mask;
}

/// Number of tiles that one of the masks keeps and the other does not.
inline int difference(const BlockMask& a, const BlockMask& b) {
  int different = 0;
  for (std::size_t i = 0; i < a.bits().size(); ++i) different += std::popcount(a.bits()[i] ^ b.bits()[i]);
  return different;
}

inline bool contains(const BlockMask& larger, const BlockMask& smaller) {
  for (std::size_t i = 0; i < larger.bits().size(); ++i)
    if (smaller.bits()[i] & ~larger.bits()[i]) return false;
  return true;
}

/// Kept tiles of all heads.
inline std::int64_t tiles(const BlockMask& mask) {
  std::int64_t sum = 0;
  for (int head = 0; head < mask.view().heads; ++head) sum += count_mask(mask.view(), head).tiles;
  return sum;
}

}  // namespace salebench
