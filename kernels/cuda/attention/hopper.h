// The attention kernel for Hopper: what it takes, and its launch. attention.h chooses between it and the portable one.
#pragma once

#include "kernels/cuda/attention/attention.h"

namespace salebench::cuda {

/// why_not(AttentionKernel::hopper, grid)
const char* why_not_hopper(const BlockGrid& grid);

/// Attention over lists, or dense where the index has none.
void hopper_attention(const DeviceProblem& problem, const BlockIndex& index, const DeviceAttention& out, Stream stream);

}  // namespace salebench::cuda
