// Statistics of the channels of a tensor's heads.
#pragma once

#include "kernels/cuda/device/device_problem.h"

namespace salebench::cuda {

std::size_t channel_stats_bytes(int heads, int rows, int head_dim);

/// Of x [heads, rows, head_dim]: `mean` [heads, head_dim], and, unless it is null, `deviation` [heads], the largest
/// |value - mean of its channel|.
void channel_stats(const void* x, Dtype dtype, int heads, int rows, int head_dim, void* workspace, float* mean,
                   float* deviation, Stream stream);

}  // namespace salebench::cuda
