// SALE's selection on the device (methods/sale.cpp is its definition): means, quantisation and bias, the reference pass
// over sink and local keys, the scan of the middle, and the vote, which writes the mask's bits. It has the fixed
// reference and scales by thread, for all tiles. 4-bit codes are computed in 8-bit lanes: mma.sync for s4 is native on
// sm_80 to sm_89 only and not used yet.
#pragma once

#include "core/block_mask.h"
#include "kernels/cuda/device_problem.h"

namespace salebench::cuda {

struct SaleOptions {
  int bits = 4;            ///< 4, 8, or 16 for exact logits
  int local_blocks = 4;    ///< least number of latest 32-key blocks always kept; for 128 rows 2 more
  bool smooth_q = true;    ///< quantise Q minus its mean
  bool smooth_k = true;    ///< quantise K minus its mean
  bool all_dense = false;  ///< keep every causal tile, as for short inputs
};

std::size_t sale_select_bytes(const Shape& shape);

/// Writes the whole mask, whose bits need no clearing. log_thresholds [q_heads] in device memory: natural logarithm of
/// the relative attention score that keeps a tile, -inf for a dense head. The problem is causal.
void sale_select(const DeviceProblem& problem, const SaleOptions& options, const float* log_thresholds, void* workspace,
                 MaskView mask, Stream stream);

}  // namespace salebench::cuda
