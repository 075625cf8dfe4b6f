// The attention map at the size of tiles, from pooled queries and keys; shared by the methods that select on it.
#pragma once

#include <span>
#include <vector>

#include "core/block_mask.h"
#include "core/problem.h"
#include "methods/shared/logits.h"

namespace salebench {

/// cpu::mean_pool or cpu::max_pool.
using Pool = std::vector<float> (*)(const float* x, int rows, int dim, int block);

/// The map of one problem.
class PooledMap {
 public:
  PooledMap(const HostProblem& p, const BlockGrid& grid, Pool pool) : p_(p), grid_(grid), pool_(pool) {
    for (int h = 0; h < p.shape.kv_heads; ++h)
      keys_.push_back(pool(p.k_head(h), p.shape.kv_len, p.shape.head_dim, grid.block.k));
  }

  /// scale * (pooled query . pooled key) of each causal tile of a query head: [q_blocks, k_blocks], 0 elsewhere.
  std::vector<float> logits(int head) const {
    const int dim = p_.shape.head_dim;
    const std::vector<float> queries = pool_(p_.q_head(head), p_.shape.q_len, dim, grid_.block.q);
    const std::vector<float>& keys = keys_[p_.shape.kv_head_of(head)];
    std::vector<float> logits(std::size_t(grid_.q_blocks()) * grid_.k_blocks());
#pragma omp parallel for schedule(dynamic)
    for (int qb = 0; qb < grid_.q_blocks(); ++qb)
      for (int kb = grid_.visible_begin(qb); kb < grid_.causal_end(qb); ++kb)
        logits[std::size_t(qb) * grid_.k_blocks() + kb] =
            p_.scale * dot<float>(&queries[std::size_t(qb) * dim], &keys[std::size_t(kb) * dim], dim);
    return logits;
  }

 private:
  HostProblem p_;
  BlockGrid grid_;
  Pool pool_;
  std::vector<std::vector<float>> keys_;  // [kv_heads] of [k_blocks, head_dim]
};

/// Softmax of each query block's logits over its causal tiles, in place. logits [q_blocks, k_blocks].
inline void block_causal_softmax(std::vector<float>& logits, const BlockGrid& grid) {
#pragma omp parallel for schedule(dynamic)
  for (int qb = 0; qb < grid.q_blocks(); ++qb)
    softmax(std::span(logits).subspan(std::size_t(qb) * grid.k_blocks() + grid.visible_begin(qb),
                                      std::size_t(grid.visible_blocks(qb))));
}

}  // namespace salebench
