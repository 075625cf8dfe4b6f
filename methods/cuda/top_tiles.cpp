// The best tiles of each query block up to a budget: by pooled scores (methods/block_topk.cpp), or by true attention
// mass (methods/oracle_topk.cpp).
#include "kernels/cuda/mask_builders.h"
#include "methods/cuda/masked_method.h"
#include "methods/on_device.h"

namespace salebench {
namespace {

class TopTiles : public MaskedDeviceMethod {
 public:
  TopTiles(const std::vector<double>& budgets, cuda::ForcedBlocks forced, const cuda::DeviceInputs& inputs)
      : MaskedDeviceMethod(inputs),
        forced_(forced),
        budgets_(budgets, nullptr),
        scores_(std::size_t(in().mask.heads) * in().mask.grid.q_blocks() * in().mask.grid.k_blocks()) {
    if (in().mask.grid.k_blocks() > cuda::kMaxBudgetBlocks)
      throw Unsupported("more than " + std::to_string(cuda::kMaxBudgetBlocks) + " key blocks; take a wider tile");
  }

 protected:
  float* scores() const { return scores_.data(); }
  void keep_best(cuda::Stream stream) const {
    cuda::keep_best(scores_.data(), budgets_.data(), forced_, in().mask, stream);
  }

 private:
  cuda::ForcedBlocks forced_;
  cuda::DeviceVector<double> budgets_;
  cuda::DeviceVector<float> scores_;  // [q_heads, q_blocks, k_blocks]
};

class BlockTopkOnDevice : public TopTiles {
 public:
  BlockTopkOnDevice(const std::vector<double>& budgets, cuda::ForcedBlocks forced, const cuda::DeviceInputs& inputs)
      : TopTiles(budgets, forced, inputs),
        workspace_(cuda::pooled_scores_bytes(in().problem.shape, in().mask.grid.block)) {}
  void select(cuda::Stream stream) override {
    cuda::pooled_scores(in().problem, in().mask.grid, workspace_.data(), scores(), stream);
    keep_best(stream);
  }

 private:
  cuda::DeviceBuffer workspace_;
};

class OracleTopkOnDevice : public TopTiles {
 public:
  OracleTopkOnDevice(const std::vector<double>& budgets, cuda::ForcedBlocks forced, const cuda::DeviceInputs& inputs)
      : TopTiles(budgets, forced, inputs) {
    cuda::block_mass(in().problem, in().exact_lse, in().mask.grid, scores(), nullptr);
  }
  bool has_selection() const override { return false; }
  void select(cuda::Stream stream) override { keep_best(stream); }
};

}  // namespace

BoundMethod block_topk_on_device(const std::vector<double>& budgets, cuda::ForcedBlocks forced,
                                 const cuda::DeviceInputs& in) {
  return std::make_unique<BlockTopkOnDevice>(budgets, forced, in);
}

BoundMethod oracle_topk_on_device(const std::vector<double>& budgets, cuda::ForcedBlocks forced,
                                  const cuda::DeviceInputs& in) {
  return std::make_unique<OracleTopkOnDevice>(budgets, forced, in);
}

}  // namespace salebench
