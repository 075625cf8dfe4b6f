// How the CPU attention kernels lay out one KV head: keys transposed in panels of 32, values padded to whole vectors.
#pragma once

#include <vector>

#include "core/problem.h"
#include "kernels/cpu/aligned_buffer.h"

namespace salebench::cpu {

inline constexpr int kPanelKeys = 32;   ///< keys in a panel: two AVX-512 vectors, four AVX2 vectors
inline constexpr int kRowTile = 64;     ///< query rows that one task works on at a time
inline constexpr int kRowStep = 8;      ///< row tiles are padded to a multiple of this
inline constexpr int kLaneFloats = 16;  ///< value rows are padded to a multiple of this

inline int round_up(int value, int step) {
  return (value + step - 1) / step * step;
}

/// K of one KV head as [panels, head_dim, 32] and V as [panels * 32, value_stride]; zero beyond kv_len and head_dim.
struct PackedHead {
  int value_stride = 0;
  AlignedBuffer keys, values;

  const float* panel(int index, int dim) const { return keys.floats() + std::size_t(index) * dim * kPanelKeys; }
  const float* value_rows(int panel) const { return values.floats() + std::size_t(panel) * kPanelKeys * value_stride; }
};

/// Packs K, and V if asked for, of every KV head, in parallel.
std::vector<PackedHead> pack_heads(const HostProblem& problem, bool with_values);
/// The same in place of what was packed before.
void pack_heads(const HostProblem& problem, bool with_values, std::vector<PackedHead>& packed);

/// Query rows [begin, end) of one head times `factor`, as [rows rounded up to kRowStep, head_dim], zero-padded.
void pack_queries(const HostProblem& problem, int head, int begin, int end, float factor, std::vector<float>& out);

}  // namespace salebench::cpu
