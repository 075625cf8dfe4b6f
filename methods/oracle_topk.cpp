// Oracle top-k: the tiles with the most true attention mass, per query block, up to a budget. It reads the exact
// attention map first, so it bounds what a selection of this tile size and budget can reach; its time means nothing.
#include "core/registry.h"
#include "kernels/cuda/select/mask_builders.h"
#include "methods/shared/budget.h"
#include "methods/shared/true_attention.h"

namespace salebench {

class OracleTopk : public Method {
  Knob budget_{.value = 0.1, .typical = {0.1, 0.2, 0.4}};
  BlockSize block_{64, 32};
  int sink_ = 0;
  int local_ = 0;

 public:
  Params params() override {
    return {{"budget", "fraction of a query block's causal key blocks that is kept", 0.0, 1.0, &budget_},
            calibration_file("budgets", &budget_),
            {"block", "tile: query rows x keys", block_choices(), &block_},
            {"sink", "leading key blocks always kept, inside the budget", 0, 1024, &sink_},
            {"local", "latest key blocks always kept, inside the budget", 0, 1024, &local_}};
  }
  BlockSize block() const override { return block_; }
  bool honours_sliding_window() const override { return true; }
  Role role() const override { return Role::oracle; }
  About about() const override {
    return {"the usual bound of block top-k methods", "true attention mass of a tile, mean over its rows",
            "the heaviest tiles of each query block, up to a share of its causal tiles", ""};
  }
  bool keeps_diagonal() const override { return local_ > 0; }
  std::any device_side(const Shape& shape) const override {
    return cuda::TopTilesSide{budget_.values(shape.q_heads), {sink_, local_}, cuda::TopTilesSide::Score::true_mass};
  }

  void select(const HostProblem& p, MaskView mask) const override { keep_heaviest(true_mass(p, mask.grid), mask); }
  void select_fast(const HostProblem& p, MaskView mask) const override {
    keep_heaviest(cpu::block_mass(p, fast_lse(p), mask.grid), mask);
  }

 private:
  /// mass is [heads, q_blocks, k_blocks].
  void keep_heaviest(const std::vector<float>& mass, MaskView mask) const {
    for (int head = 0; head < mask.heads; ++head)
      for (int qb = 0; qb < mask.grid.q_blocks(); ++qb)
        keep_best(causal_tiles(mass, mask.grid, head, qb), budget_[head], {sink_, local_}, head, qb, mask);
  }
};

SALEBENCH_METHOD(OracleTopk, "oracle_topk", 2, "oracle: tiles with the most true attention mass, up to a budget");

}  // namespace salebench
