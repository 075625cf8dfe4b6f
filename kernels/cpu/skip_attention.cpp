#include "kernels/cpu/skip_attention.h"

#include <algorithm>
#include <numbers>

#include "kernels/cpu/skip_tile.h"

namespace salebench::cpu {
namespace {

void list_kept(ConstMaskView mask, int head, int q_block, bool descending, std::vector<int>& visits) {
  visits.clear();
  for (int kb = mask.grid.visible_begin(q_block); kb < mask.grid.causal_end(q_block); ++kb)
    if (mask.kept(head, q_block, kb)) visits.push_back(kb);
  if (descending) std::ranges::reverse(visits);
}

}  // namespace

void skip_attention(const HostProblem& p, ConstMaskView mask, const SkipRule& rule, AttentionView out,
                    MaskView* computed) {
  const BlockGrid& grid = mask.grid;
  const std::vector<PackedHead> packed = pack_heads(p, !out.output.empty());
  const float to_base2 = p.scale * std::numbers::log2e_v<float>;
#pragma omp parallel
  {
    SkipWorkspace work;
    // Late query blocks have the most keys and go first, so that the threads end together.
#pragma omp for collapse(2) schedule(dynamic)
    for (int qb = grid.q_blocks() - 1; qb >= 0; --qb) {
      for (int head = 0; head < p.shape.q_heads; ++head) {
        list_kept(mask, head, qb, rule.descending, work.visits);
        pack_queries(p, head, grid.q_begin(qb), grid.q_end(qb), to_base2, work.queries);
        SkipTask task;
        task.q = work.queries.data();
        task.rows = grid.q_end(qb) - grid.q_begin(qb);
        task.dim = p.shape.head_dim;
        task.kv = &packed[p.shape.kv_head_of(head)];
        task.block_k = grid.block.k;
        task.first_position = grid.position(grid.q_begin(qb));
        task.causal = p.causal;
        task.kv_len = p.shape.kv_len;
        task.sliding_window = p.sliding_window;
        task.reach = rule.reach[head];
        task.group_rows = rule.group_rows;
        task.always_last = rule.always_last;
        const std::size_t row = std::size_t(head) * p.shape.q_len + grid.q_begin(qb);
        if (!out.output.empty()) task.output = &out.output[row * p.shape.head_dim];
        if (!out.lse.empty()) task.lse = &out.lse[row];
        skip_tile(task, work);
        for (std::size_t i = 0; computed && i < work.visits.size(); ++i)
          if (work.computed[i]) computed->keep(head, qb, work.visits[i]);
      }
    }
  }
}

}  // namespace salebench::cpu
