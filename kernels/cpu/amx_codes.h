// SALE's scan of low-bit codes on AMX int8 tiles; the same results as codes_reach, bit for bit.
#pragma once

#include <vector>

#include "core/problem.h"
#include "kernels/cpu/aligned_buffer.h"
#include "kernels/cpu/code_tile.h"

namespace salebench::cpu {

/// Codes of K as left operands, and what bounds a panel's logits.
struct AmxCodes {
  int depth_tiles = 0;              ///< head_dim / 64, rounded up
  const std::byte* keys = nullptr;  ///< [kv_heads, panels, depth_tiles, 2 x 16 keys] tiles of 64 channels
  const float* bounds = nullptr;    ///< [q_heads, panels, 8]: of each scale group, 1 / k_scale and the largest bias
};

/// Buffers that a thread reuses from task to task.
struct AmxCodeWorkspace {
  AlignedBuffer memory;
};

/// Packs in parallel, into memory of the calling thread that lasts until its next call.
AmxCodes pack_amx_codes(const Shape& shape, const SaleCodes& codes);

/// As codes_reach, for codes with scales by thread. Needs amx_available() and a TileScope on this thread.
void amx_codes_reach(const CodeTask& task, const AmxCodes& packed, int first_panel, int tile_panels,
                     AmxCodeWorkspace& work, std::vector<bool>& reached);

}  // namespace salebench::cpu
