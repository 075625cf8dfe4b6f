// SALE's selection on the device (methods/sale/sale.cpp is its definition): means, quantisation and bias, the reference
// pass over sink and local keys, the scan of the middle, and the vote, which writes the mask's bits. It has the fixed
// reference and scales by thread, for all tiles.
#pragma once

#include <vector>

#include "core/block_mask.h"
#include "kernels/cuda/device/device_problem.h"

namespace salebench::cuda {

struct SaleOptions {
  int bits = 4;            ///< 4, 8, or 16 for exact logits
  int local_blocks = 4;    ///< least number of latest 32-key blocks always kept; for 128 rows 2 more
  bool smooth_q = true;    ///< quantise Q minus its mean
  bool smooth_k = true;    ///< quantise K minus its mean
  bool all_dense = false;  ///< keep every causal tile, as for short inputs
  /// Whose products 4-bit codes go through; the masks are the same. Hardware for 4-bit ones is in sm_80 to sm_89;
  /// from sm_90 on two of 8 bits stand for each.
  enum class Int4 { where_native, packed, in_8_bit_lanes } int4 = Int4::where_native;
};

/// The device side of `sale`.
struct SaleSide {
  SaleOptions options;
  std::vector<float> log_thresholds;  ///< [q_heads], as sale_select takes them
};

/// Whether the codes are packed, two a byte, and multiplied as 4-bit integers on the current device.
bool sale_packs_codes(const SaleOptions& options);

std::size_t sale_select_bytes(const Shape& shape);

/// Writes the whole mask, whose bits need no clearing. log_thresholds [q_heads] in device memory: natural logarithm of
/// the relative attention score that keeps a tile, -inf for a dense head. The problem is causal.
void sale_select(const DeviceProblem& problem, const SaleOptions& options, const float* log_thresholds, void* workspace,
                 MaskView mask, Stream stream);

}  // namespace salebench::cuda
