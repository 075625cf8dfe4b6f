// What bound methods share: lists of the mask, and block-sparse attention over them.
#pragma once

#include <optional>

#include "methods/cuda/device_side.h"
#include "methods/cuda/low_bit.h"

namespace salebench {

/// Attends over the mask that select() leaves.
class MaskedDeviceMethod : public cuda::DeviceMethod {
 public:
  explicit MaskedDeviceMethod(const cuda::DeviceInputs& in)
      : in_(in), lists_(cuda::block_index_bytes(in.mask.grid, in.problem.shape.q_heads)) {
    if (in.arithmetic != Arithmetic::exact) low_bit_.emplace(in);
  }

  void index(cuda::Stream stream) override {
    index_ = cuda::build_block_index(in_.mask, in_.problem.shape.kv_heads, lists_.data(), stream);
  }
  void attend(cuda::Stream stream) override {
    if (low_bit_)
      low_bit_->attend(index_, stream);
    else
      cuda::block_sparse_attention(in_.problem, index_, in_.out, stream);
  }
  std::string attend_kernel() const override {
    return low_bit_ ? low_bit_->kernel() : to_string(cuda::fastest_kernel());
  }

 protected:
  const cuda::DeviceInputs& in() const { return in_; }
  /// Bytes of the mask.
  std::size_t mask_bytes() const {
    const BlockGrid& grid = in_.mask.grid;
    return std::size_t(in_.mask.heads) * grid.q_blocks() * grid.words() * sizeof(std::uint32_t);
  }

 private:
  cuda::DeviceInputs in_;
  cuda::DeviceBuffer lists_;
  cuda::BlockIndex index_;
  std::optional<LowBitAttention> low_bit_;
};

}  // namespace salebench
