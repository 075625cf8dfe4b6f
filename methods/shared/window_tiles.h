// The tiles of a token-exact window, shared by the methods that have nothing else.
#pragma once

#include "core/block_mask.h"

namespace salebench {

/// Keeps every tile in which some row sees some key through the window of the mask's grid.
inline void keep_window(MaskView mask) {
  const BlockGrid& grid = mask.grid;
  for (int head = 0; head < mask.heads; ++head) {
    for (int qb = 0; qb < grid.q_blocks(); ++qb) {
      const bool dense = !grid.windowed(grid.q_end(qb) - 1);  // its last row at least
      const int first_of_dense = grid.key_begin(std::max(grid.q_begin(qb), grid.q_len - grid.window->dense_rows));
      const int first_local = grid.position(grid.q_begin(qb)) - grid.window->local + 1;  // of the block's first row
      const int first_seen = grid.key_begin(grid.q_begin(qb));  // by any row, under a sliding window of the problem
      for (int kb = grid.visible_begin(qb); kb < grid.causal_end(qb); ++kb)
        if ((dense && grid.k_end(kb) > first_of_dense) || grid.k_end(kb) > first_local ||
            std::max(grid.k_begin(kb), first_seen) < grid.window->sink)
          mask.keep(head, qb, kb);
    }
  }
}

}  // namespace salebench
