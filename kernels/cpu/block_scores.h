// Exact scores of tiles, in float32: what the oracles go by.
#pragma once

#include <span>
#include <vector>

#include "core/block_mask.h"
#include "core/problem.h"

namespace salebench::cpu {

/// Mean over the rows of a query block of the true probability on a key block: [q_heads, q_blocks, k_blocks].
/// lse [q_heads, q_len] is the exact log-sum-exp. Same meaning as reference_block_mass.
std::vector<float> block_mass(const HostProblem& problem, std::span<const float> lse, const BlockGrid& grid);

/// The largest true probability of a (row, key) pair of each tile. Same meaning as reference_block_peak.
std::vector<float> block_peak(const HostProblem& problem, std::span<const float> lse, const BlockGrid& grid);

}  // namespace salebench::cpu
