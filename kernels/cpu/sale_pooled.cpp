#include "kernels/cpu/sale_pooled.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "kernels/cpu/packed.h"

namespace salebench::cpu {
namespace {

constexpr int kTaskRows = 64;  // several query blocks share a task, so that narrow ones fill the kernel's rows

}  // namespace

std::vector<float> reduced_tile_scores(const ReducedOperands& x, TileScore kind, const BlockGrid& grid,
                                       std::span<const ScanRange> ranges) {
  constexpr float kToBase2 = std::numbers::log2e_v<float>;
  const HostProblem p{{1, 1, x.rows, x.keys, x.dim}, false, x.scale, x.q, x.k, {}};
  const std::vector<PackedHead> packed = pack_heads(p, false);
  const int q_blocks = grid.q_blocks(), k_blocks = grid.k_blocks();
  const int task_blocks = std::max(1, kTaskRows / x.rows_per_block);
  const float nothing = kind == TileScore::max ? -std::numeric_limits<float>::infinity() : 0.0f;
  std::vector<float> scores(std::size_t(q_blocks) * k_blocks, nothing);
#pragma omp parallel
  {
    std::vector<float> queries, row_lse;
    std::vector<int> key_end;
#pragma omp for schedule(dynamic)
    for (int task = (q_blocks - 1) / task_blocks; task >= 0; --task) {  // the longest first
      const int first = task * task_blocks, last = std::min(q_blocks, first + task_blocks);
      const int begin = first * x.rows_per_block, end = std::min(x.rows, last * x.rows_per_block);
      pack_queries(p, 0, begin, end, x.scale * kToBase2, queries);
      key_end.clear(), row_lse.clear();
      for (int qb = first; qb < last; ++qb)  // an empty range may lie past the last key
        key_end.push_back(ranges[qb].begin < ranges[qb].end ? ranges[qb].end * x.tile_keys : 0);
      for (int row = begin; row < end; ++row) row_lse.push_back(x.row_lse[row] * kToBase2);
      float* const out = &scores[std::size_t(first) * k_blocks];
      tile_scores({queries.data(), end - begin, x.dim, x.rows_per_block, &packed[0], x.tile_keys, k_blocks,
                   key_end.data(), row_lse.data()},
                  kind, out);
      for (int qb = first; qb < last; ++qb) {
        const int rows = std::min(x.rows, (qb + 1) * x.rows_per_block) - qb * x.rows_per_block;
        float* const row = &scores[std::size_t(qb) * k_blocks];
        for (int kb = ranges[qb].begin; kb < ranges[qb].end; ++kb)
          row[kb] = kind == TileScore::max ? row[kb] / kToBase2 : std::log(row[kb] / float(rows));
      }
    }
  }
  return scores;
}

}  // namespace salebench::cpu
