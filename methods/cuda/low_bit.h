// Attention of bound methods from 8-bit operands, of which the rounding is a part.
#pragma once

#include "kernels/cuda/attention/attention.h"
#include "kernels/cuda/device/device_memory.h"
#include "kernels/cuda/device/device_method.h"

namespace salebench {

class LowBitAttention {
 public:
  /// For Arithmetic::int8 and fp8.
  explicit LowBitAttention(const cuda::DeviceInputs& in)
      : in_(in),
        operands_(in.arithmetic == Arithmetic::fp8 ? cuda::Operands::fp8 : cuda::Operands::int8),
        workspace_(cuda::low_bit_bytes(in.problem.shape, operands_)) {}

  void attend(const cuda::BlockIndex& index, cuda::Stream stream) {
    const auto low = cuda::round_operands(in_.problem, operands_, workspace_.data(), stream);
    cuda::low_bit_attention(in_.problem, low, index, in_.out, stream);
  }
  std::string kernel() const { return operands_ == cuda::Operands::fp8 ? "hopper fp8" : "hopper int8"; }

 private:
  cuda::DeviceInputs in_;
  cuda::Operands operands_;
  cuda::DeviceBuffer workspace_;
};

}  // namespace salebench
