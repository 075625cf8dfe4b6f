// Oracle top-p: for each query block the fewest tiles whose true attention mass sums to top_p; the tile that crosses it
// is kept, and of equals the lower index goes first. It bounds the methods that estimate this mass; its time means
// nothing. Where all that is kept lies beyond the first rows of a block, their heaviest tile comes on top.
#include "core/registry.h"
#include "methods/shared/logits.h"
#include "methods/shared/true_attention.h"

namespace salebench {

class OracleTopp : public Method {
  Knob top_p_{.value = 0.9, .typical = {0.8, 0.9, 0.95, 0.99}};
  BlockSize block_{64, 32};

 public:
  Params params() override {
    return {{"top_p", "true mass that each query block keeps at least; 1 keeps every tile", 0.0, 1.0, &top_p_},
            calibration_file("top_ps", &top_p_),
            {"block", "tile: query rows x keys", block_choices(), &block_}};
  }
  BlockSize block() const override { return block_; }
  bool honours_sliding_window() const override { return true; }
  Role role() const override { return Role::oracle; }
  bool keeps_diagonal() const override { return false; }
  About about() const override {
    return {"the usual bound of top-p methods", "true attention mass of a tile, mean over its rows",
            "the fewest tiles of each query block whose mass reaches top_p, crossing included",
            "one more tile where rows of a block would keep no key"};
  }

  void select(const HostProblem& p, MaskView mask) const override { keep_mass(true_mass(p, mask.grid), mask); }
  void select_fast(const HostProblem& p, MaskView mask) const override {
    keep_mass(cpu::block_mass(p, fast_lse(p), mask.grid), mask);
  }

 private:
  /// mass is [heads, q_blocks, k_blocks].
  void keep_mass(const std::vector<float>& mass, MaskView mask) const {
#pragma omp parallel for collapse(2) schedule(dynamic)
    for (int head = 0; head < mask.heads; ++head)
      for (int qb = 0; qb < mask.grid.q_blocks(); ++qb) {
        const std::span<const float> row = causal_tiles(mass, mask.grid, head, qb);
        keep_share(row, top_p_[head], head, qb, mask);
        keep_no_row_empty(row, head, qb, mask);
      }
  }
};

SALEBENCH_METHOD(OracleTopp, "oracle_topp", 1, "oracle: fewest tiles that reach a share of the true attention mass");

}  // namespace salebench
