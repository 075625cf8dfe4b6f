// Block top-p on mean-pooled scores: a softmax over the causal tiles of each query block, at logits
// scale * (mean query . mean key), and the fewest tiles whose sum reaches top_p. PBS-Attn (arXiv 2510.21270) selects so
// after its permutation; alone it is the cheap baseline of top-p methods. Key block 0 and the diagonal are kept
// besides.
#include "core/registry.h"
#include "kernels/cpu/pooling.h"
#include "methods/shared/budget.h"
#include "methods/shared/logits.h"
#include "methods/shared/pooled_map.h"

namespace salebench {

class BlockTopp : public Method {
  Knob top_p_{.value = 0.9, .typical = {0.8, 0.9, 0.95}};
  BlockSize block_{128, 128};

 public:
  Params params() override {
    return {{"top_p", "estimated attention mass that a query block keeps; 1 keeps all", 0.0, 1.0, &top_p_},
            calibration_file("top_ps", &top_p_),
            {"block", "tile: query rows x keys", block_choices(), &block_}};
  }
  BlockSize block() const override { return block_; }
  bool honours_sliding_window() const override { return true; }
  About about() const override {
    return {"the common baseline; mean pooling of PBS-Attn (arXiv 2510.21270), authors' code at 8ce8e02, unpermuted",
            "softmax over a query block's causal tiles of mean query . mean key",
            "the fewest tiles that reach top_p, the crossing one included; block 0 and the diagonal in addition",
            "a short last block divides by the tokens it has; blocks may differ from 128 x 128"};
  }

  void select(const HostProblem& p, MaskView mask) const override {
    const BlockGrid& grid = mask.grid;
    const PooledMap map(p, grid, cpu::mean_pool);
    for (int head = 0; head < mask.heads; ++head) {
      std::vector<float> mass = map.logits(head);
      block_causal_softmax(mass, grid);
#pragma omp parallel for schedule(dynamic)
      for (int qb = 0; qb < grid.q_blocks(); ++qb) {
        keep_forced({.sink = 1, .local = 1}, head, qb, mask);
        keep_share(&mass[std::size_t(qb) * grid.k_blocks()], top_p_[head], head, qb, mask);
      }
    }
  }
};

SALEBENCH_METHOD(BlockTopp, "block_topp", 2, "block top-p on mean-pooled queries and keys");

}  // namespace salebench
