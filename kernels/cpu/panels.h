// From the key blocks of a mask to the 32-key panels that the kernels read.
#pragma once

#include <algorithm>
#include <bit>
#include <vector>

#include "core/block_mask.h"
#include "kernels/cpu/attention_tile.h"

namespace salebench::cpu {

/// The lanes of a panel that hold keys below kv_len.
inline std::uint32_t valid_lanes(int panel, int kv_len) {
  const int keys = kv_len - panel * kPanelKeys;
  return keys >= kPanelKeys ? 0xffffffffu : (1u << keys) - 1;
}

/// Adds keys [begin, end) to the lanes of query block `block` of the tile.
inline void add_keys(int begin, int end, int block, PanelVisits& visits) {
  for (int panel = begin / kPanelKeys; panel * kPanelKeys < end; ++panel) {
    const int low = std::max(0, begin - panel * kPanelKeys), high = std::min(kPanelKeys, end - panel * kPanelKeys);
    const std::uint32_t lanes = (high == kPanelKeys ? 0u : 1u << high) - (1u << low);
    visits.lanes[std::size_t(panel) * visits.q_blocks + block] |= lanes;
  }
}

/// The panels in which any of the query blocks [q_begin, q_end) keeps a key below `key_end`, each with the lanes that
/// each query block keeps. Key blocks may have any width: narrow ones share a panel, wide ones span several.
inline void kept_panels(ConstMaskView mask, int head, int q_begin, int q_end, int key_end, PanelVisits& visits) {
  const BlockGrid& grid = mask.grid;
  visits.q_blocks = q_end - q_begin;
  const int panels = round_up(key_end, kPanelKeys) / kPanelKeys;
  visits.lanes.assign(std::size_t(panels) * visits.q_blocks, 0u);
  for (int qb = q_begin; qb < q_end; ++qb) {
    const std::uint32_t* const row = mask.row(head, qb);
    for (int word = 0; word < grid.words(); ++word)
      for (std::uint32_t bits = row[word]; bits != 0; bits &= bits - 1) {
        const int kb = word * 32 + std::countr_zero(bits);
        if (grid.k_begin(kb) < key_end)
          add_keys(grid.k_begin(kb), std::min(grid.k_end(kb), key_end), qb - q_begin, visits);
      }
  }
  visits.panels.clear();
  for (int panel = 0; panel < panels; ++panel) {
    const std::uint32_t* const lanes = visits.lanes_of(panel);
    if (std::any_of(lanes, lanes + visits.q_blocks, [](std::uint32_t kept) { return kept != 0; }))
      visits.panels.push_back(panel);
  }
}

}  // namespace salebench::cpu
