// BlockGrid's geometry for device code; core/block_mask.h documents the meaning of each function.
#pragma once

#include "kernels/cuda/device/device_problem.h"

namespace salebench::cuda {

/// The lowest n bits; none for n below 0, all from 32 on.
__device__ inline std::uint32_t lowest_bits(int n) {
  return __funnelshift_lc(~0u, 0u, std::uint32_t(max(n, 0)));
}

struct DeviceGrid {
  int block_q, block_k, q_len, kv_len, q_blocks, k_blocks, words, sliding_window;
  bool causal, windowed;
  Window window;

  explicit DeviceGrid(const BlockGrid& g)
      : block_q(g.block.q),
        block_k(g.block.k),
        q_len(g.q_len),
        kv_len(g.kv_len),
        q_blocks(g.q_blocks()),
        k_blocks(g.k_blocks()),
        words(g.words()),
        sliding_window(g.sliding_window),
        causal(g.causal),
        windowed(g.window.has_value()),
        window(g.window.value_or(Window{})) {}

  __device__ int q_begin(int q_block) const { return q_block * block_q; }
  __device__ int q_end(int q_block) const { return min(q_len, (q_block + 1) * block_q); }
  __device__ int k_begin(int k_block) const { return k_block * block_k; }
  __device__ int k_end(int k_block) const { return min(kv_len, (k_block + 1) * block_k); }
  __device__ int position(int row) const { return kv_len - q_len + row; }
  __device__ int key_begin(int row) const {
    return sliding_window > 0 ? max(0, position(row) + 1 - sliding_window) : 0;
  }
  __device__ int key_end(int row) const { return causal ? position(row) + 1 : kv_len; }
  __device__ int causal_end(int q_block) const { return (key_end(q_end(q_block) - 1) + block_k - 1) / block_k; }
  __device__ int visible_begin(int q_block) const { return key_begin(q_begin(q_block)) / block_k; }
  __device__ int uncut_begin(int q_block) const { return (key_begin(q_end(q_block) - 1) + block_k - 1) / block_k; }
  __device__ int diagonal_begin(int q_block) const { return position(q_begin(q_block)) / block_k; }
  __device__ int diagonal_end(int q_block) const { return position(q_end(q_block) - 1) / block_k + 1; }

  __device__ bool narrowed(int row) const { return windowed && row < q_len - window.dense_rows; }
  __device__ bool visible(int row, int key) const {
    return key >= key_begin(row) && key < key_end(row) &&
           (!narrowed(row) || key < window.sink || position(row) - key < window.local);
  }
  /// Bit i says whether a row sees key + i.
  __device__ std::uint32_t visible_keys(int row, int key) const {
    std::uint32_t seen = lowest_bits(key_end(row) - key) & ~lowest_bits(key_begin(row) - key);
    if (narrowed(row)) seen &= lowest_bits(window.sink - key) | ~lowest_bits(position(row) - window.local + 1 - key);
    return seen;
  }
  /// Whether each row of [row, row + rows) sees each key of [key, key + keys); may say no where the answer is yes.
  __device__ bool all_visible(int row, int rows, int key, int keys) const {
    if (key + keys > min(kv_len, key_end(row)) || key < key_begin(row + rows - 1)) return false;
    return !narrowed(row) || key + keys <= window.sink || position(row + rows - 1) - key < window.local;
  }
};

}  // namespace salebench::cuda
