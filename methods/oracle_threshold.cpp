// Oracle threshold: the tiles whose true attention reaches a threshold, all query blocks alike. By mass it is the mean
// over a tile's rows of the probability on the tile; by max, the largest probability of one of its pairs, which is what
// the rules that keep a tile for a single large logit (SALE, BLASST) try to find. Its time means nothing. Where nothing
// reaches the threshold for the first rows of a block, their heaviest tile is kept, so that no row is empty.
#include "core/registry.h"
#include "methods/shared/true_attention.h"

namespace salebench {

class OracleThreshold : public Method {
  Knob threshold_{.value = 0.001, .typical = {0.01, 0.002, 0.0005}, .larger = Knob::Trend::keeps_less};
  enum class By { mass, max } by_ = By::mass;
  BlockSize block_{64, 32};

 public:
  Params params() override {
    return {{"threshold", "true probability that a tile must reach; 0 keeps every tile", 0.0, 1.0, &threshold_},
            calibration_file("thresholds", &threshold_),
            {"by",
             "mass: sum over the tile's keys, mean over its rows; max: largest of its pairs",
             {{"mass", By::mass}, {"max", By::max}},
             &by_},
            {"block", "tile: query rows x keys", block_choices(), &block_}};
  }
  BlockSize block() const override { return block_; }
  bool honours_sliding_window() const override { return true; }
  Role role() const override { return Role::oracle; }
  bool keeps_diagonal() const override { return false; }
  About about() const override {
    return {"the bound of threshold methods", "true attention mass of a tile, or its largest probability",
            "the tiles that reach the threshold", "one more tile where rows of a block would keep no key"};
  }

  void select(const HostProblem& p, MaskView mask) const override {
    keep_reaching(by_ == By::max ? true_peak(p, mask.grid) : true_mass(p, mask.grid), mask);
  }
  void select_fast(const HostProblem& p, MaskView mask) const override {
    const std::vector<float> lse = fast_lse(p);
    keep_reaching(by_ == By::max ? cpu::block_peak(p, lse, mask.grid) : cpu::block_mass(p, lse, mask.grid), mask);
  }

 private:
  /// weight is [heads, q_blocks, k_blocks].
  void keep_reaching(const std::vector<float>& weight, MaskView mask) const {
    for (int head = 0; head < mask.heads; ++head)
      for (int qb = 0; qb < mask.grid.q_blocks(); ++qb) {
        const std::span<const float> row = causal_tiles(weight, mask.grid, head, qb);
        for (int kb = mask.grid.visible_begin(qb); kb < int(row.size()); ++kb)
          if (row[kb] >= threshold_[head]) mask.keep(head, qb, kb);
        keep_no_row_empty(row, head, qb, mask);
      }
  }
};

SALEBENCH_METHOD(OracleThreshold, "oracle_threshold", 1, "oracle: tiles whose true attention reaches a threshold");

}  // namespace salebench
