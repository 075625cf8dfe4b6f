// Random tiles, the control: what a density gives without any knowledge of the problem. A tile's priority is a hash of
// (seed, query block, key block); each query block keeps its diagonal, then its highest priorities up to a share of its
// causal tiles. All heads share the priorities, and a larger density keeps a superset.
#include "datasets/synthetic/random.h"
#include "core/registry.h"
#include "methods/shared/budget.h"

namespace salebench {

class RandomTiles : public Method {
  static constexpr std::uint32_t kStream = 1000;  // apart from those of the random tensors
  Knob density_{.value = 0.2, .typical = {0.2, 0.5}};
  BlockSize block_{64, 64};

 public:
  Params params() override {
    return {{"density", "fraction of a query block's causal key blocks that is kept, its diagonal included", 0.0, 1.0,
             &density_},
            calibration_file("densities", &density_),
            {"block", "tile: query rows x keys", block_choices(), &block_}};
  }
  BlockSize block() const override { return block_; }
  bool honours_sliding_window() const override { return true; }
  About about() const override {
    return {"the usual control", "none",
            "random tiles up to a share of each query block's causal tiles, the diagonal inside; nested in density",
            "one draw a problem: all heads share the priorities of the tiles"};
  }

  void select(const HostProblem&, MaskView mask) const override {
    const portable::Random random(seed());
    for (int qb = 0; qb < mask.grid.q_blocks(); ++qb) {
      std::vector<float> priority;
      for (int kb = 0; kb < mask.grid.causal_end(qb); ++kb)
        priority.push_back(float(random.uniform(kStream, 0, std::uint32_t(qb), std::uint32_t(kb))));
      for (int head = 0; head < mask.heads; ++head)
        keep_best(priority, density_[head], {.sink = 0, .local = 1}, head, qb, mask);
    }
  }
};

SALEBENCH_METHOD(RandomTiles, "random", 2, "control: random tiles of a given density");

}  // namespace salebench
