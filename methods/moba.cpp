// MoBA's gate (arXiv 2502.13189), training-free: each query token keeps its own key block and, of the blocks before it,
// those whose mean key has the largest product with the query, topk blocks in all.
//   gate(i, c) = q_i . mean of K block c, unscaled; own block +inf, later ones -inf.
#include "core/registry.h"
#include "kernels/cpu/pooling.h"
#include "methods/shared/budget.h"
#include "methods/shared/logits.h"

namespace salebench {

class Moba : public Method {
  Knob topk_{.value = 3, .typical = {3, 6, 12}};
  int keys_ = 512;

 public:
  Params params() override {
    return {{"topk", "key blocks that a query keeps, its own included", 1, 1 << 16, &topk_},
            calibration_file("topks", &topk_),
            {"block", "keys of a block", 1, 1 << 16, &keys_}};
  }
  BlockSize block() const override { return {1, keys_}; }
  bool honours_sliding_window() const override { return true; }
  About about() const override {
    return {
        "MoBA (arXiv 2502.13189), authors' code at 61e456b", "each query . mean key of a block",
        "a query's own block and its best earlier ones, topk in all, token by token",
        "training-free: on models that were not trained with it; defaults of the paper's scaling experiments at 8K, "
        "where the code's example for long contexts has blocks of 4096 and topk 12; float32 means of keys after RoPE; "
        "of equal gates the lower block wins"};
  }

  bool causal_only() const override { return true; }

  void select(const HostProblem& p, MaskView mask) const override {
    const int dim = p.shape.head_dim;
    std::vector<std::vector<float>> means_of;  // [kv_heads] of [k_blocks, head_dim]
    for (int h = 0; h < p.shape.kv_heads; ++h)
      means_of.push_back(cpu::mean_pool(p.k_head(h), p.shape.kv_len, dim, keys_));
    for (int head = 0; head < mask.heads; ++head) {
      const std::vector<float>& means = means_of[p.shape.kv_head_of(head)];
#pragma omp parallel for schedule(dynamic, 64)
      for (int row = 0; row < p.shape.q_len; ++row) {
        const float* const q = p.q_head(head) + std::size_t(row) * dim;
        std::vector<float> gate(mask.grid.causal_end(row));
        for (std::size_t kb = 0; kb < gate.size(); ++kb) gate[kb] = dot<float>(q, &means[kb * dim], dim);
        keep_most(gate, int(topk_[head]), {.sink = 0, .local = 1}, head, row, mask);
      }
    }
  }
};

SALEBENCH_METHOD(Moba, "moba", 1, "MoBA's gate: per query token, top-k key blocks by mean key");

}  // namespace salebench
