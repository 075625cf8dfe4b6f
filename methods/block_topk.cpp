// Block top-k on pooled scores, the canonical cheap baseline: score of a tile = pooled query . pooled key; the best
// tiles are kept up to a budget, forced sink and local blocks inside it.
//   scope row: each query block spends its own share. scope global: the head spends its share over all its tiles, the
//   largest softmax over the query block's causal tiles first: that estimates attention mass, which counts alike in
//   every row, so best-first reaches the most estimated mass. Raw logits of different rows have no common zero.
#include "core/registry.h"
#include "kernels/cpu/pooling.h"
#include "kernels/cuda/select/mask_builders.h"
#include "methods/shared/budget.h"
#include "methods/shared/pooled_map.h"

namespace salebench {

class BlockTopk : public Method {
  Knob budget_{.value = 0.1, .typical = {0.1, 0.2, 0.4, 0.7}};
  BlockSize block_{64, 64};
  enum class Pool { mean, max } pool_ = Pool::mean;
  enum class Scope { row, global } scope_ = Scope::row;
  int sink_ = 1;
  int local_ = 1;

 public:
  Params params() override {
    return {{"budget", "fraction of the causal key blocks that is kept", 0.0, 1.0, &budget_},
            calibration_file("budgets", &budget_),
            {"block", "tile: query rows x keys", block_choices(), &block_},
            {"pool",
             "mean, or max: the largest value of each channel over the tokens of a block",
             {{"mean", Pool::mean}, {"max", Pool::max}},
             &pool_},
            {"scope",
             "who spends the budget: each query block, or the head as a whole",
             {{"row", Scope::row}, {"global", Scope::global}},
             &scope_},
            {"sink", "leading key blocks always kept, inside the budget", 0, 1024, &sink_},
            {"local", "latest key blocks always kept, inside the budget", 1, 1024, &local_}};
  }
  BlockSize block() const override { return block_; }
  bool honours_sliding_window() const override { return true; }
  About about() const override {
    return {"the common baseline; MInference (arXiv 2407.02490) has it as its block-sparse pattern",
            "pooled query . pooled key of a tile; the pool is the mean of the block's tokens or their maximum in each "
            "channel",
            "the best tiles of each query block, or by softmax over causal tiles of the head, up to a share of the "
            "causal tiles",
            "the budget is a share of causal tiles, not of the whole row width; sink and diagonal are inside it"};
  }

  std::any device_side(const Shape& shape) const override {
    if (pool_ != Pool::mean || scope_ != Scope::row) return {};
    return cuda::TopTilesSide{budget_.values(shape.q_heads), {sink_, local_}};
  }

  void select(const HostProblem& p, MaskView mask) const override {
    const BlockGrid& grid = mask.grid;
    const PooledMap map(p, grid, pool_ == Pool::mean ? cpu::mean_pool : cpu::max_pool);
    for (int head = 0; head < mask.heads; ++head) {
      std::vector<float> score = map.logits(head);
      if (scope_ == Scope::global) {
        block_causal_softmax(score, grid);
        keep_best_of_head(score, head, mask);
        continue;
      }
#pragma omp parallel for schedule(dynamic)
      for (int qb = 0; qb < grid.q_blocks(); ++qb)
        keep_best(std::span(score).subspan(std::size_t(qb) * grid.k_blocks()), budget_[head], {sink_, local_}, head, qb,
                  mask);
    }
  }

 private:
  /// score [q_blocks, k_blocks], comparable between query blocks.
  void keep_best_of_head(const std::vector<float>& score, int head, MaskView mask) const {
    const BlockGrid& grid = mask.grid;
    std::vector<int> rest;  // tiles that are not forced, as indices into score
    int visible = 0;
    for (int qb = 0; qb < grid.q_blocks(); ++qb) {
      keep_forced({sink_, local_}, head, qb, mask);
      visible += grid.visible_blocks(qb);
      for (int kb = grid.visible_begin(qb); kb < grid.causal_end(qb); ++kb)
        if (!mask.kept(head, qb, kb)) rest.push_back(qb * grid.k_blocks() + kb);
    }
    const int more = best_first(rest, score, budget_blocks(budget_[head], visible) - (visible - int(rest.size())));
    for (int i = 0; i < more; ++i) mask.keep(head, rest[i] / grid.k_blocks(), rest[i] % grid.k_blocks());
  }
};

SALEBENCH_METHOD(BlockTopk, "block_topk", 2, "block top-k on pooled queries and keys");

}  // namespace salebench
