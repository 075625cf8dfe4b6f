// The launch of the attention kernel for Hopper. attention.h chooses between it and the portable one.
#pragma once

#include "kernels/cuda/attention/attention.h"

namespace salebench::cuda {

/// Attention over lists, or dense where the index has none, from `low` where that has 8-bit operands.
void hopper_attention(const DeviceProblem& problem, const LowBitProblem& low, const BlockIndex& index,
                      const DeviceAttention& out, Stream stream);

}  // namespace salebench::cuda
