// The attention map at the size of tiles, from pooled queries and keys; shared by the methods that select on it.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "core/block_mask.h"
#include "core/problem.h"

namespace salebench {

/// cpu::mean_pool or cpu::max_pool.
using Pool = std::vector<float> (*)(const float* x, int rows, int dim, int block);

/// scale * (pooled query . pooled key) of each causal tile of a head: [q_blocks, k_blocks], 0 beyond the causal limit.
inline std::vector<float> pooled_logits(const HostProblem& p, int head, const BlockGrid& grid, Pool pool) {
  const int dim = p.shape.head_dim;
  const std::vector<float> queries = pool(p.q_head(head), p.shape.q_len, dim, grid.block.q);  // [q_blocks, head_dim]
  const std::vector<float> keys = pool(p.k_of(head), p.shape.kv_len, dim, grid.block.k);      // [k_blocks, head_dim]
  std::vector<float> logits(std::size_t(grid.q_blocks()) * grid.k_blocks());
#pragma omp parallel for schedule(dynamic)
  for (int qb = 0; qb < grid.q_blocks(); ++qb)
    for (int kb = 0; kb < grid.causal_end(qb); ++kb) {
      float dot = 0;
      for (int d = 0; d < dim; ++d) dot += queries[std::size_t(qb) * dim + d] * keys[std::size_t(kb) * dim + d];
      logits[std::size_t(qb) * grid.k_blocks() + kb] = p.scale * dot;
    }
  return logits;
}

/// Softmax of each query block's logits over its causal tiles, in place. logits [q_blocks, k_blocks].
inline void block_causal_softmax(std::vector<float>& logits, const BlockGrid& grid) {
  for (int qb = 0; qb < grid.q_blocks(); ++qb) {
    const auto row = std::span(logits).subspan(std::size_t(qb) * grid.k_blocks(), std::size_t(grid.causal_end(qb)));
    const float most = *std::ranges::max_element(row);
    double sum = 0;
    for (float& x : row) sum += x = std::exp(x - most);
    for (float& x : row) x = float(x / sum);
  }
}

}  // namespace salebench
