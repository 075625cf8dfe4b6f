// SALE's scan of low-bit codes on AMX int8 tiles; the same results as codes_reach, bit for bit.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/problem.h"
#include "kernels/cpu/aligned_buffer.h"
#include "kernels/cpu/code_tile.h"

namespace salebench::cpu {

inline constexpr int kScaleGroups = 4;  ///< of a panel: keys j with equal (j mod 8) / 2 share a scale

/// What bounds a panel's logits for one query head, by scale group: (sum + bias / q_scale) scale + margin.
struct AmxCodeBounds {
  float bias[kScaleGroups];  ///< the largest
  float scale[kScaleGroups], margin[kScaleGroups];
  float padding[kScaleGroups];
};

/// Codes of K as left operands, and bounds.
struct AmxCodes {
  int q_heads = 0;
  int depth_tiles = 0;   ///< head_dim / 64, rounded up
  AlignedBuffer keys;    ///< [kv_heads, panels, depth_tiles, 2 x 16 keys] tiles of 64 channels
  AlignedBuffer bounds;  ///< [panels, q_heads] AmxCodeBounds

  const AmxCodeBounds& panel_bounds(int q_head, int panel) const {
    return reinterpret_cast<const AmxCodeBounds*>(bounds.data())[std::size_t(panel) * q_heads + q_head];
  }
};

/// 16 rows of a task. Logits and limits are in units of the row's q_scale.
struct AmxCodeGroup {
  alignas(64) float limit[16], low_limit[16];  ///< the threshold, and a little less
  alignas(64) float inverse[16];               ///< 1 / q_scale
  int head = 0;
  std::span<std::uint8_t> reached;
};

/// Buffers that a thread reuses from call to call.
struct AmxCodeWorkspace {
  AlignedBuffer memory;
  std::vector<AmxCodeGroup> groups;
};

/// Packs in parallel, in place of what was packed before.
void pack_amx_codes(const Shape& shape, const SaleCodes& codes, AmxCodes& packed);

/// As codes_reach, for codes with scales by thread and for several tasks of one KV head at once, those with most tiles
/// first. Needs amx_available() and a TileScope on this thread.
void amx_codes_reach(std::span<const CodeTask> tasks, const AmxCodes& packed, int first_panel, int tile_panels,
                     AmxCodeWorkspace& work);

}  // namespace salebench::cpu
