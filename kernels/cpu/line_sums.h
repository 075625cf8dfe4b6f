// Attention of the last queries, summed along the lines of the map: columns and diagonals.
#pragma once

#include <vector>

#include "core/problem.h"

namespace salebench::cpu {

/// Sums over some rows of the causal attention map of one head.
struct LineSums {
  std::vector<float> column;  ///< [kv_len]: probability on each key
  std::vector<float> offset;  ///< [kv_len]: probability at each distance from a row's own token back to the key
};

/// For each query head, over its last `rows` query rows (all of them if there are fewer).
std::vector<LineSums> line_sums(const HostProblem& problem, int rows);

}  // namespace salebench::cpu
