// Statistics of the channels of a tensor's heads.
#pragma once

#include "kernels/cuda/device/device_problem.h"

namespace salebench::cuda {

std::size_t channel_stats_bytes(int heads, int rows, int head_dim);

/// What channel_stats() writes, where it is not null. A deviation is the largest |value - mean of its channel|.
struct ChannelStats {
  float* mean;                         ///< [heads, head_dim]
  float* deviation = nullptr;          ///< [heads], of all channels
  float* channel_deviation = nullptr;  ///< [heads, head_dim]
};

/// Of x [heads, rows, head_dim].
void channel_stats(const void* x, Dtype dtype, int heads, int rows, int head_dim, void* workspace,
                   const ChannelStats& out, Stream stream);

}  // namespace salebench::cuda
