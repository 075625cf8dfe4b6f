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

/// The heaviest of the tiles in which every row of the query block sees a key. A tile on the diagonal may be the
/// heaviest of all and yet leave the first rows without any key.
inline int heaviest_for_all_rows(std::span<const float> weight, const BlockGrid& grid, int q_block) {
  const int end = (grid.key_end(grid.q_begin(q_block)) + grid.block.k - 1) / grid.block.k;
  return int(std::max_element(weight.begin(), weight.begin() + end) - weight.begin());
}

/// Keeps that tile if no other gives the first row a key. It is the next one that growing the mask by weight would add
/// there, so masks stay nested.
inline void keep_no_row_empty(std::span<const float> weight, int head, int q_block, MaskView mask) {
  const BlockGrid& grid = mask.grid;
  for (int kb = 0; kb * grid.block.k < grid.key_end(grid.q_begin(q_block)); ++kb)
    if (mask.kept(head, q_block, kb)) return;
  mask.keep(head, q_block, heaviest_for_all_rows(weight, grid, q_block));
}

}  // namespace salebench
