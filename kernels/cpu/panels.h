// From the key blocks of a mask to the 32-key panels that the kernels read.
#pragma once

#include <vector>

#include "core/block_mask.h"
#include "kernels/cpu/attention_tile.h"

namespace salebench::cpu {

/// The lanes of a panel that hold keys below kv_len.
inline std::uint32_t valid_lanes(int panel, int kv_len) {
  const int keys = kv_len - panel * kPanelKeys;
  return keys >= kPanelKeys ? 0xffffffffu : (1u << keys) - 1;
}

/// The panels with at least one kept key below `key_end`, ascending, each with its kept lanes. Key blocks may have any
/// width: narrow ones share a panel, wide ones span several.
inline void kept_panels(ConstMaskView mask, int head, int q_block, int key_end, std::vector<PanelVisit>& visits) {
  visits.clear();
  const int width = mask.grid.block.k;
  const int blocks = std::min(mask.grid.k_blocks(), (key_end + width - 1) / width);
  for (int kb = 0; kb < blocks; ++kb) {
    if (!mask.kept(head, q_block, kb)) continue;
    const int begin = mask.grid.k_begin(kb), end = mask.grid.k_end(kb);
    for (int panel = begin / kPanelKeys; panel * kPanelKeys < end; ++panel) {
      const int low = std::max(0, begin - panel * kPanelKeys), high = std::min(kPanelKeys, end - panel * kPanelKeys);
      const std::uint32_t lanes = (high == kPanelKeys ? 0u : 1u << high) - (1u << low);
      if (visits.empty() || visits.back().panel != panel) visits.push_back({panel, 0});
      visits.back().lanes |= lanes;
    }
  }
}

}  // namespace salebench::cpu
