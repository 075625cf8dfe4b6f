// What the oracles go by: the true attention on each tile, and the tile that no query block can do without.
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "core/reference.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/block_scores.h"

namespace salebench {

/// True attention mass of each tile, a mean over its rows: [q_heads, q_blocks, k_blocks].
inline std::vector<float> true_mass(const HostProblem& p, const BlockGrid& grid) {
  const std::vector<double> mass = reference_block_mass(p, reference_attention(p).lse, grid);
  return {mass.begin(), mass.end()};
}

/// The largest true probability of a (row, key) pair of each tile: [q_heads, q_blocks, k_blocks].
inline std::vector<float> true_peak(const HostProblem& p, const BlockGrid& grid) {
  const std::vector<double> peak = reference_block_peak(p, reference_attention(p).lse, grid);
  return {peak.begin(), peak.end()};
}

/// The exact log-sum-exp by the tuned kernel: [q_heads, q_len].
inline std::vector<float> fast_lse(const HostProblem& p) {
  std::vector<float> lse(std::size_t(p.shape.q_heads) * p.shape.q_len);
  cpu::dense_attention(p, {{}, lse});
  return lse;
}

/// The causal tiles of one query block out of values [q_heads, q_blocks, k_blocks].
inline std::span<const float> causal_tiles(const std::vector<float>& values, const BlockGrid& grid, int head,
                                           int q_block) {
  return {&values[(std::size_t(head) * grid.q_blocks() + q_block) * grid.k_blocks()],
          std::size_t(grid.causal_end(q_block))};
}

/// Keeps a tile more wherever a row of the query block keeps no key yet: the heaviest of those that the row sees. It is
/// the next one that growing the mask by weight would add there, so masks stay nested. A tile on the diagonal may be
/// the heaviest of all and yet leave the first rows without any key.
inline void keep_no_row_empty(std::span<const float> weight, int head, int q_block, MaskView mask) {
  const BlockGrid& grid = mask.grid;
  for (int row = grid.q_begin(q_block); row < grid.q_end(q_block); ++row) {
    const int begin = grid.key_begin(row) / grid.block.k, end = (grid.key_end(row) + grid.block.k - 1) / grid.block.k;
    bool any = false;
    for (int kb = begin; kb < end; ++kb) any = any || mask.kept(head, q_block, kb);
    if (!any) mask.keep(head, q_block, int(std::max_element(&weight[begin], weight.data() + end) - weight.data()));
    if (grid.sliding_window == 0) return;  // later rows see all that the first does
  }
}

}  // namespace salebench
