// The steps of SALE's selection and the buffers between them.
#pragma once

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/sale.h"
#include "kernels/cuda/tile.cuh"

namespace salebench::cuda {

constexpr int kSaleRows = 64;      ///< query rows of a tile
constexpr int kSegmentBlocks = 4;  ///< the middle is a whole number of segments of 4 key blocks
constexpr int kScanBlocks = 8;     ///< key blocks that the scan takes at a time
constexpr int kScanKeys = kScanBlocks * kChunkKeys;
constexpr int kKeyGroups = 4;   ///< scales in a key block: keys j with equal (j mod 8) / 2 share one
constexpr int kSlabRows = 512;  ///< rows that one CTA sums for the means
constexpr float kDenseThreshold = 1e-5f;

/// Estimated logit of row i and key j: q_scale_i * k_scale_j * (q_i . k_j + rint(bias_j / q_scale_i)).
struct SaleBuffers {
  int key_room;            ///< kv_len rounded up to what the scan takes at a time
  double* slab_sums;       ///< [heads, slabs, head_dim] of Q or K, whichever is larger
  float *q_mean, *k_mean;  ///< [heads, head_dim]; zero where not smoothed
  std::int8_t *q, *k;      ///< codes, [q_heads, q_len, head_dim] and [kv_heads, key_room, head_dim]
  float* q_scale;          ///< [q_heads, q_len]
  float* k_scale;          ///< [kv_heads, key_room / 32, 4]
  float* bias;             ///< [q_heads, key_room]: (mean of q) . k_j / k_scale_j
  int* bias_most;          ///< [q_heads]: bits of the largest |bias| of a head
  float* limit;            ///< [q_heads, q_len]: T_i in unscaled logit units, +inf in dense heads
};

/// Key blocks [1, middle_end) of a query block are scanned; block 0 and [middle_end, causal_end) are always kept.
__device__ inline int middle_end(const DeviceGrid& grid, int q_block, int local_blocks) {
  const int segments = (grid.causal_end(q_block) - 1 - local_blocks) / kSegmentBlocks;
  return 1 + kSegmentBlocks * max(0, segments);
}

/// Means of the channels of Q and K, or zeros.
void sale_means(const DeviceProblem& p, const SaleOptions& options, const SaleBuffers& b, Stream stream);
/// Codes, scales and bias.
void sale_quantize(const DeviceProblem& p, const SaleOptions& options, const SaleBuffers& b, Stream stream);
/// Writes limit, and the mask with sink and local blocks kept. Limits are for q . (k - k_mean).
void sale_reference(const DeviceProblem& p, const SaleOptions& options, const float* thresholds, const SaleBuffers& b,
                    MaskView mask, Stream stream);
/// Adds the middle blocks that reach a limit to the mask: with codes, or with exact logits.
void sale_scan_codes(const DeviceProblem& p, const SaleOptions& options, const SaleBuffers& b, MaskView mask,
                     Stream stream);
void sale_scan_exact(const DeviceProblem& p, const SaleOptions& options, const SaleBuffers& b, MaskView mask,
                     Stream stream);

}  // namespace salebench::cuda
