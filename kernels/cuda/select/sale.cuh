// The steps of SALE's selection and the buffers between them.
#pragma once

#include "kernels/cuda/attention/tile.cuh"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/select/sale.h"

namespace salebench::cuda {

constexpr int kSegmentKeys = 128;  ///< the middle is a whole number of segments
constexpr int kScanChunks = 8;     ///< 32-key chunks that the scan takes at a time
constexpr int kScanKeys = kScanChunks * kChunkKeys;
constexpr int kKeyGroups = 4;  ///< scales in a chunk: keys j with equal (j mod 8) / 2 share one

/// Estimated logit of row i and key j: q_scale_i * k_scale_j * (q_i . k_j + rint(bias_j / q_scale_i)).
struct SaleBuffers {
  int key_room;            ///< kv_len rounded up to what the scan takes at a time
  void* stats;             ///< what channel_stats works in, for Q or K
  float *q_mean, *k_mean;  ///< [heads, head_dim]; zero where not smoothed
  std::int8_t *q, *k;      ///< codes, [q_heads, q_len, head_dim] and [kv_heads, key_room, head_dim]; packed ones take
                           ///< half of a row's bytes, the lower channel in the lower half of a byte
  float* q_scale;          ///< [q_heads, q_len]
  float* k_inverse;        ///< [kv_heads, key_room / 32, 4]: 1 / k_scale, at scale_place()
  float* bias;             ///< [q_heads, key_room]: (mean of q) . k_j / k_scale_j, in chunks ordered by bias_place()
  float* group_bias;       ///< [q_heads, key_room / 32, 4]: the largest of keys that share a scale, at scale_place()
  int* bias_most;          ///< [q_heads]: bits of the largest |bias| of a head
  float* limit;            ///< [q_heads, q_len]: T_i in unscaled logit units, +inf in dense heads
};

/// Key blocks [middle_begin, middle_end) of a query block are scanned; the others that a row may see are always kept:
/// block 0, or those that a sliding window cuts, and [middle_end, causal_end). middle_of in
/// methods/sale/sale_geometry.h is the definition.
__device__ inline int middle_begin(const DeviceGrid& grid, int q_block) {
  return min(max(1, grid.uncut_begin(q_block)), grid.causal_end(q_block));
}
__device__ inline int middle_end(const DeviceGrid& grid, int q_block, int local_blocks) {
  const int begin = middle_begin(grid, q_block), end = grid.causal_end(q_block), segment = kSegmentKeys / grid.block_k;
  const int local_keys = kChunkKeys * local_blocks + max(0, grid.block_q - 64);
  const int local = max((local_keys + grid.block_k - 1) / grid.block_k, end - grid.diagonal_begin(q_block));
  return begin + segment * max(0, (end - begin - local) / segment);
}

/// The blocks that any of the query blocks [first, last] scans lie in [begin, end), which is empty if there are none.
struct ScanSpan {
  int begin, end = 0;

  __device__ ScanSpan(const DeviceGrid& grid, int first, int last, int local_blocks)
      : begin(middle_begin(grid, first)) {
    for (int q_block = first; q_block <= last; ++q_block)
      if (const int own = middle_end(grid, q_block, local_blocks); own > middle_begin(grid, q_block))
        end = max(end, own);
  }
};

/// A tile has 2^tile_shift chunks.
__device__ inline int tile_shift(const DeviceGrid& grid) {
  return grid.block_k / (2 * kChunkKeys);
}

/// Keeps the tiles of a row of the mask whose chunks a warp's lanes found: bit b of `found` is chunk 32 group + b. Only
/// chunks [begin, end) count, whole tiles. All lanes take part; several warps may share a row of tiles.
__device__ inline void keep_found(std::uint32_t* row, int tile_shift, int begin, int end, int group, unsigned found) {
  found = __reduce_or_sync(~0u, found) & lowest_bits(end - 32 * group) & ~lowest_bits(begin - 32 * group);
  if (tile_shift > 0) {
    const int tile = lane_id() << tile_shift;  // its first chunk
    found = __ballot_sync(~0u, tile < 32 && (found >> (tile & 31) & ((1u << (1 << tile_shift)) - 1)) != 0);
  }
  const int tiles = 32 >> tile_shift;  // of a group
  if (found != 0 && lane_id() == 0)
    atomicOr(&row[group >> tile_shift], found << ((group & ((1 << tile_shift) - 1)) * tiles));
}

/// Keeps blocks [begin, middle_begin) and [local_begin, end) in a row of the mask, and no other, by the threads with
/// one threadIdx.y.
__device__ inline void write_row(std::uint32_t* row, int words, int begin, int middle_begin, int local_begin, int end) {
  const auto below = [](int bits) { return bits >= 32 ? ~0u : bits <= 0 ? 0u : (1u << bits) - 1; };
  for (int word = threadIdx.x; word < words; word += blockDim.x)
    row[word] = (below(end - 32 * word) & ~below(local_begin - 32 * word)) |
                (below(middle_begin - 32 * word) & ~below(begin - 32 * word));
}

/// The chunks of the key blocks that are always kept, as a list: those before the middle, then the local ones.
struct ReferenceList {
  int first, early, local_begin, count;

  __device__ ReferenceList(const DeviceGrid& grid, int q_block, int local_block) {
    const int chunks = grid.block_k / kChunkKeys;
    first = grid.visible_begin(q_block) * chunks;
    early = middle_begin(grid, q_block) * chunks - first;
    local_begin = local_block * chunks;
    const int end = (grid.key_end(grid.q_end(q_block) - 1) + kChunkKeys - 1) / kChunkKeys;
    count = early + end - local_begin;
  }
  __device__ int chunk(int i) const {
    return i >= count ? int(kNoChunk) : i < early ? first + i : local_begin + i - early;
  }
};

/// Codes, scales and bias.
void sale_quantize(const DeviceProblem& p, const SaleOptions& options, const SaleBuffers& b, Stream stream);
/// Writes limit, and the mask with sink and local blocks kept. Limits are for q . (k - k_mean).
void sale_reference(const DeviceProblem& p, const SaleOptions& options, const float* log_thresholds,
                    const SaleBuffers& b, MaskView mask, Stream stream);
/// Adds the middle blocks that reach a limit to the mask: with codes, or with exact logits.
void sale_scan_codes(const DeviceProblem& p, const SaleOptions& options, const SaleBuffers& b, MaskView mask,
                     Stream stream);
void sale_scan_exact(const DeviceProblem& p, const SaleOptions& options, const SaleBuffers& b, MaskView mask,
                     Stream stream);

}  // namespace salebench::cuda
