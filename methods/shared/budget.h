// Choosing blocks under a budget, shared by the top-k methods.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "core/block_mask.h"

namespace salebench {

/// Every block that dense attention would visit.
inline void keep_causal(MaskView mask, int head) {
  const BlockGrid& grid = mask.grid;
  for (int qb = 0; qb < grid.q_blocks(); ++qb) mask.keep_range(head, qb, grid.visible_begin(qb), grid.causal_end(qb));
}
inline void keep_causal(MaskView mask) {
  for (int head = 0; head < mask.heads; ++head) keep_causal(mask, head);
}

/// Blocks kept whatever their score, counted inside the budget.
struct Forced {
  int sink = 0;   ///< leading key blocks
  int local = 0;  ///< latest key blocks up to the diagonal's end; 1 or more always includes all blocks on the diagonal
};

/// Keeps the forced blocks of a query block.
inline void keep_forced(Forced forced, int head, int q_block, MaskView mask) {
  const BlockGrid& grid = mask.grid;
  const int begin = grid.visible_begin(q_block), end = grid.causal_end(q_block);
  mask.keep_range(head, q_block, begin, std::min(forced.sink, end));
  if (forced.local > 0) {
    const int local_end = grid.diagonal_end(q_block);  // the causal end, and before it in attention that is not causal
    const int local_begin = std::max(begin, std::min(local_end - forced.local, grid.diagonal_begin(q_block)));
    mask.keep_range(head, q_block, local_begin, local_end);
  }
}

/// ceil(budget * blocks), at least 1. The small term keeps 0.1 * 30 blocks at 3, which binary fractions put a hair
/// above.
inline int budget_blocks(double budget, int blocks) {
  return std::max(1, int(std::ceil(budget * blocks - 1e-9)));
}

/// Moves the `count` best-scored of the indices to the front; of equals the lower index goes first. Returns how many
/// there are, which is less where there are not enough.
inline int best_first(std::vector<int>& indices, std::span<const float> score, int count) {
  count = std::clamp(count, 0, int(indices.size()));
  std::nth_element(indices.begin(), indices.begin() + count, indices.end(),
                   [&](int a, int b) { return score[a] > score[b] || (score[a] == score[b] && a < b); });
  return count;
}

/// Keeps the forced blocks of a query block, then its best-scored others until `count` are kept. score [k_blocks].
inline void keep_most(std::span<const float> score, int count, Forced forced, int head, int q_block, MaskView mask) {
  keep_forced(forced, head, q_block, mask);
  const BlockGrid& grid = mask.grid;
  std::vector<int> rest;
  for (int kb = grid.visible_begin(q_block); kb < grid.causal_end(q_block); ++kb)
    if (!mask.kept(head, q_block, kb)) rest.push_back(kb);
  const int more = best_first(rest, score, count - (grid.visible_blocks(q_block) - int(rest.size())));
  for (int i = 0; i < more; ++i) mask.keep(head, q_block, rest[i]);
}

/// The same up to ceil(budget * visible blocks).
inline void keep_best(std::span<const float> score, double budget, Forced forced, int head, int q_block,
                      MaskView mask) {
  keep_most(score, budget_blocks(budget, mask.grid.visible_blocks(q_block)), forced, head, q_block, mask);
}

}  // namespace salebench
