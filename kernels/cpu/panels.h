// From the key blocks of a mask to the 32-key panels that the kernels read.
#pragma once

#include <algorithm>
#include <bit>

#include "core/block_mask.h"
#include "kernels/cpu/attention_tile.h"

namespace salebench::cpu {

/// The panels in which any of the query blocks [q_begin, q_end) keeps a key below `key_end`, each with the lanes that
/// each query block keeps. Key blocks may have any width: narrow ones share a panel, wide ones span several.
inline void kept_panels(ConstMaskView mask, int head, int q_begin, int q_end, int key_end, PanelVisits& visits) {
  const BlockGrid& grid = mask.grid;
  visits.start(q_end - q_begin, key_end);
  const std::uint32_t* const rows = mask.row(head, q_begin);  // those of one head lie one after another
  for (int word = 0; word < grid.words(); ++word) {
    std::uint32_t any = 0;
    for (int block = 0; block < visits.q_blocks; ++block) any |= rows[block * grid.words() + word];
    for (; any != 0; any &= any - 1) {
      const int bit = std::countr_zero(any), begin = grid.k_begin(word * 32 + bit);
      if (begin >= key_end) return;
      const int end = std::min(grid.k_end(word * 32 + bit), key_end);
      for (int panel = begin / kPanelKeys; panel * kPanelKeys < end; ++panel) {
        const std::uint32_t keys = lanes_below(end - panel * kPanelKeys) & ~lanes_below(begin - panel * kPanelKeys);
        std::uint32_t* const lanes = visits.visit(panel);
        for (int block = 0; block < visits.q_blocks; ++block)
          if (rows[block * grid.words() + word] >> bit & 1u) lanes[block] |= keys;
      }
    }
  }
}

}  // namespace salebench::cpu
