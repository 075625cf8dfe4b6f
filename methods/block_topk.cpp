// Block top-k on pooled scores, the canonical cheap baseline: score of a tile = mean query . mean key; each query block
// keeps its best tiles up to a budget, forced sink and local blocks inside it.
#include "core/registry.h"
#include "kernels/cpu/pooling.h"
#include "methods/budget.h"

namespace salebench {

class BlockTopk : public Method {
  Knob budget_{.value = 0.1};
  std::string block_ = "64x64";
  int sink_ = 1;
  int local_ = 1;

 public:
  Params params() override {
    return {{"budget", "fraction of a query block's causal key blocks that is kept", 0.0, 1.0, &budget_},
            calibration_file("budgets", &budget_),
            {"block", "tile: query rows x keys", kBlockChoices, &block_},
            {"sink", "leading key blocks always kept, inside the budget", 0, 1024, &sink_},
            {"local", "latest key blocks always kept, inside the budget", 1, 1024, &local_}};
  }
  BlockSize block() const override { return parse_block(block_); }
  About about() const override {
    return {
        "the common baseline; MInference (arXiv 2407.02490) has it as its block-sparse pattern",
        "mean query . mean key of a tile", "the best tiles of each query block, up to a share of its causal tiles",
        "the budget is a share of a row's causal tiles, not of the whole row width; sink and diagonal are inside it"};
  }

  void select(const HostProblem& p, MaskView mask) const override {
    const BlockGrid& grid = mask.grid;
    const int dim = p.shape.head_dim;
    std::vector<std::vector<float>> keys;  // [kv_heads] of [k_blocks, head_dim]
    for (int h = 0; h < p.shape.kv_heads; ++h)
      keys.push_back(cpu::mean_pool(p.k_head(h), p.shape.kv_len, dim, grid.block.k));
    for (int head = 0; head < mask.heads; ++head) {
      const std::vector<float> queries = cpu::mean_pool(p.q_head(head), p.shape.q_len, dim, grid.block.q);
      const std::vector<float>& head_keys = keys[p.shape.kv_head_of(head)];
#pragma omp parallel for schedule(dynamic)
      for (int qb = 0; qb < grid.q_blocks(); ++qb) {
        std::vector<float> score(grid.causal_end(qb));
        for (std::size_t kb = 0; kb < score.size(); ++kb)
          for (int d = 0; d < dim; ++d) score[kb] += queries[std::size_t(qb) * dim + d] * head_keys[kb * dim + d];
        keep_best(score, budget_[head], {sink_, local_}, head, qb, mask);
      }
    }
  }
};

SALEBENCH_METHOD(BlockTopk, "block_topk", 1, "block top-k on mean-pooled queries and keys");

}  // namespace salebench
