#include "kernels/cpu/block_scores.h"

#include <algorithm>
#include <numbers>

#include "kernels/cpu/score_tile.h"

namespace salebench::cpu {

std::vector<float> block_mass(const HostProblem& p, std::span<const float> lse, const BlockGrid& grid) {
  const std::vector<PackedHead> packed = pack_heads(p, false);
  std::vector<float> mass(std::size_t(p.shape.q_heads) * grid.q_blocks() * grid.k_blocks());
#pragma omp parallel
  {
    std::vector<float> queries, key_mass, base2_lse;
#pragma omp for collapse(2) schedule(dynamic)
    for (int qb = grid.q_blocks() - 1; qb >= 0; --qb) {
      for (int head = 0; head < p.shape.q_heads; ++head) {
        const int key_end = grid.key_end(grid.q_end(qb) - 1);
        key_mass.assign(std::size_t(key_end), 0.0f);
        for (int begin = grid.q_begin(qb); begin < grid.q_end(qb); begin += kRowTile) {
          const int end = std::min(grid.q_end(qb), begin + kRowTile);
          pack_queries(p, head, begin, end, p.scale * std::numbers::log2e_v<float>, queries);
          base2_lse.clear();
          for (int row = begin; row < end; ++row)
            base2_lse.push_back(lse[std::size_t(head) * p.shape.q_len + row] * std::numbers::log2e_v<float>);
          ScoreTask task;
          task.q = queries.data();
          task.rows = end - begin;
          task.dim = p.shape.head_dim;
          task.kv = &packed[p.shape.kv_head_of(head)];
          task.limits.first_position = grid.position(begin);
          task.limits.causal = p.causal;
          task.limits.kv_len = p.shape.kv_len;
          task.row_value = base2_lse.data();
          add_key_mass(task, key_end, key_mass.data());
        }
        float* const out = &mass[(std::size_t(head) * grid.q_blocks() + qb) * grid.k_blocks()];
        const float rows = float(grid.q_end(qb) - grid.q_begin(qb));
        for (int key = 0; key < key_end; ++key) out[key / grid.block.k] += key_mass[key] / rows;
      }
    }
  }
  return mass;
}

}  // namespace salebench::cpu
