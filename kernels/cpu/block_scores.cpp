#include "kernels/cpu/block_scores.h"

#include <algorithm>
#include <numbers>

#include "kernels/cpu/score_tile.h"

namespace salebench::cpu {
namespace {

/// One value a tile: scan(task, key_end, key_values) goes over the rows of a tile, then fold(value of the tile, value
/// of a key, rows of the query block) over its keys.
template <class Scan, class Fold>
std::vector<float> tile_values(const HostProblem& p, std::span<const float> lse, const BlockGrid& grid,
                               const Scan& scan, const Fold& fold) {
  const std::vector<PackedHead> packed = pack_heads(p, false);
  std::vector<float> values(std::size_t(p.shape.q_heads) * grid.q_blocks() * grid.k_blocks());
#pragma omp parallel
  {
    std::vector<float> queries, key_values, base2_lse;
#pragma omp for collapse(2) schedule(dynamic)
    for (int qb = grid.q_blocks() - 1; qb >= 0; --qb) {
      for (int head = 0; head < p.shape.q_heads; ++head) {
        const int key_end = grid.key_end(grid.q_end(qb) - 1);
        key_values.assign(std::size_t(key_end), 0.0f);
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
          task.limits.sliding_window = p.sliding_window;
          task.row_value = base2_lse.data();
          scan(task, key_end, key_values.data());
        }
        float* const out = &values[(std::size_t(head) * grid.q_blocks() + qb) * grid.k_blocks()];
        const float rows = float(grid.q_end(qb) - grid.q_begin(qb));
        for (int key = 0; key < key_end; ++key) fold(out[key / grid.block.k], key_values[key], rows);
      }
    }
  }
  return values;
}

}  // namespace

std::vector<float> block_mass(const HostProblem& p, std::span<const float> lse, const BlockGrid& grid) {
  return tile_values(p, lse, grid, add_key_mass, [](float& mass, float key, float rows) { mass += key / rows; });
}

std::vector<float> block_peak(const HostProblem& p, std::span<const float> lse, const BlockGrid& grid) {
  return tile_values(p, lse, grid, raise_key_peak, [](float& peak, float key, float) { peak = std::max(peak, key); });
}

}  // namespace salebench::cpu
