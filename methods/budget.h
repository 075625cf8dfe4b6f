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
  for (int qb = 0; qb < mask.grid.q_blocks(); ++qb) mask.keep_range(head, qb, 0, mask.grid.causal_end(qb));
}
inline void keep_causal(MaskView mask) {
  for (int head = 0; head < mask.heads; ++head) keep_causal(mask, head);
}

/// Blocks kept whatever their score, counted inside the budget.
struct Forced {
  int sink = 0;   ///< leading key blocks
  int local = 0;  ///< latest key blocks of a query block; 1 or more always includes all blocks on the diagonal
};

/// Keeps the forced blocks of a query block, then the best-scored others until ceil(budget * causal blocks) are kept.
/// score [k_blocks]; of equals the lower index goes first.
inline void keep_best(std::span<const float> score, double budget, Forced forced, int head, int q_block,
                      MaskView mask) {
  const BlockGrid& grid = mask.grid;
  const int end = grid.causal_end(q_block);
  mask.keep_range(head, q_block, 0, std::min(forced.sink, end));
  if (forced.local > 0) {
    const int local_begin = std::clamp(std::min(end - forced.local, grid.diagonal_begin(q_block)), 0, end);
    mask.keep_range(head, q_block, local_begin, end);
  }
  std::vector<int> rest;
  for (int kb = 0; kb < end; ++kb)
    if (!mask.kept(head, q_block, kb)) rest.push_back(kb);
  // The small term keeps 0.1 * 30 blocks at 3, which binary fractions put a hair above.
  const int wanted = std::max(1, int(std::ceil(budget * end - 1e-9)));
  const int more = std::clamp(wanted - (end - int(rest.size())), 0, int(rest.size()));
  std::nth_element(rest.begin(), rest.begin() + more, rest.end(),
                   [&](int a, int b) { return score[a] > score[b] || (score[a] == score[b] && a < b); });
  for (int i = 0; i < more; ++i) mask.keep(head, q_block, rest[i]);
}

}  // namespace salebench
