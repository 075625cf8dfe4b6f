// K, V and Q as the AMX attention kernel reads them: bfloat16 tiles of 16 rows of 64 bytes. A float32 tensor is split
// into up to 3 bfloat16 parts that sum to it: 1 for bfloat16 values, 2 for float16, 3 for any.
#pragma once

#include "core/problem.h"
#include "kernels/cpu/aligned_buffer.h"
#include "kernels/cpu/amx/support.h"
#include "kernels/cpu/packed.h"

namespace salebench::cpu {

inline constexpr int kAmxGroup = 32;      ///< query rows that a product handles: the columns of 2 tiles
inline constexpr int kAmxDepth = 32;      ///< channels that a product handles: head_dim is padded to a multiple
inline constexpr int kAmxKeyParts = 3;    ///< of Q and K, at most: float32 exactly
inline constexpr int kAmxValueParts = 2;  ///< of V, at most: 16 bits, an error of 2e-6

/// K and V of all KV heads. A panel has 32 keys.
struct AmxKeysValues {
  int depth_tiles = 0;  ///< head_dim / 32, rounded up
  int panels = 0, key_parts = 0, value_parts = 0;
  AlignedBuffer keys;    ///< [kv_heads, panels, key_parts, depth_tiles, 2 x 16 keys] tiles of 32 channels
  AlignedBuffer values;  ///< [kv_heads, panels, value_parts, 2 depth_tiles of 16 channels] tiles of 32 keys

  std::size_t key_part_bytes() const { return std::size_t(2) * depth_tiles * kTileBytes; }
  std::size_t value_part_bytes() const { return std::size_t(2) * depth_tiles * kTileBytes; }
  const std::byte* panel_keys(int kv_head, int panel) const {
    return keys.data() + (std::size_t(kv_head) * panels + panel) * key_parts * key_part_bytes();
  }
  const std::byte* panel_values(int kv_head, int panel) const {
    return values.data() + (std::size_t(kv_head) * panels + panel) * value_parts * value_part_bytes();
  }
};

/// The least number of bfloat16 parts, up to `most`, that sum exactly to each of the values; `most` if none does.
int bfloat16_parts(const float* x, std::size_t size, int most);

/// Packs K, and V if asked for, in parallel, in place of what was packed before.
void pack_keys_values(const HostProblem& problem, bool with_values, AmxKeysValues& packed);

/// Packs query rows q [rows, dim], at most 32, as [parts, depth_tiles, 2 x 16 rows] tiles of 16 channel pairs.
void pack_query_group(const float* q, int rows, int dim, int parts, std::byte* out);

/// out[row, i] = sums[i, row] * factor[row] for sums [channels, 32] and up to 32 rows of `dim` channels.
void unpack_output_group(const float* sums, const float* factor, int rows, int dim, float* out);

}  // namespace salebench::cpu
