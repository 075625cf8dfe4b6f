// The best tiles of each query block up to a budget: by pooled scores (methods/block_topk.cpp), or by true attention
// mass (methods/oracle_topk.cpp).
#include "kernels/cuda/select/mask_builders.h"
#include "methods/cuda/masked_method.h"

namespace salebench {
namespace {

class TopTiles : public MaskedDeviceMethod {
 public:
  TopTiles(const cuda::TopTilesSide& side, const cuda::DeviceInputs& inputs)
      : MaskedDeviceMethod(inputs),
        pooled_(side.score == cuda::TopTilesSide::Score::pooled),
        forced_(side.forced),
        budgets_(side.budgets, nullptr),
        scores_(std::size_t(in().mask.heads) * in().mask.grid.q_blocks() * in().mask.grid.k_blocks()),
        workspace_(pooled_ ? cuda::pooled_scores_bytes(in().problem.shape, in().mask.grid.block) : 0) {
    if (in().mask.grid.k_blocks() > cuda::kMaxBudgetBlocks)
      throw Unsupported("more than " + std::to_string(cuda::kMaxBudgetBlocks) + " key blocks; take a wider tile");
    if (!pooled_) cuda::block_mass(in().problem, in().exact_lse, in().mask.grid, scores_.data(), nullptr);
  }
  /// True attention mass is no work of a method.
  bool has_selection() const override { return pooled_; }
  void select(cuda::Stream stream) override {
    if (pooled_) cuda::pooled_scores(in().problem, in().mask.grid, workspace_.data(), scores_.data(), stream);
    cuda::keep_best(scores_.data(), budgets_.data(), forced_, in().mask, stream);
  }

 private:
  bool pooled_;
  cuda::ForcedBlocks forced_;
  cuda::DeviceVector<double> budgets_;
  cuda::DeviceVector<float> scores_;  // [q_heads, q_blocks, k_blocks]
  cuda::DeviceBuffer workspace_;
};

SALEBENCH_DEVICE_SIDE(cuda::TopTilesSide, TopTiles);

}  // namespace
}  // namespace salebench
