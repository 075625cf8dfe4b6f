// Where the lists of a BlockIndex lie.
#pragma once

#include "kernels/cuda/attention/block_index.h"
#include "kernels/cuda/attention/tile.cuh"
#include "kernels/cuda/device/launch.cuh"

namespace salebench::cuda {

/// Room for each list in closed form, so that neither a prefix sum nor a host copy is needed: list q_block has
/// base + slope * (q_block + 1) entries, rounded up to a multiple of four, which is at least the number of chunks its
/// rows may see. base is such a multiple, slope 0, 2 or 4.
struct ListLayout {
  int base, slope;

  explicit ListLayout(const BlockGrid& g) {
    const int visible_to_all = g.causal ? g.kv_len - g.q_len : g.kv_len;
    base = ceil_div(ceil_div(visible_to_all, kChunkKeys), 4) * 4;
    slope = g.causal ? g.block.q / kChunkKeys : 0;
  }
  __host__ __device__ std::int64_t begin(int q_block) const {
    const std::int64_t n = q_block;
    return base * n + (slope == 2 ? 4 * ((n + 1) * (n + 1) / 4) : slope * (n * (n + 1) / 2));
  }
};

}  // namespace salebench::cuda
