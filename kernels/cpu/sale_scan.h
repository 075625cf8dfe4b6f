// SALE's selection pass: keeps the middle key blocks in which any estimated logit reaches its row's threshold.
#pragma once

#include <span>
#include <vector>

#include "core/block_mask.h"
#include "core/problem.h"
#include "kernels/cpu/sale_quantize.h"

namespace salebench::cpu {

/// Key blocks [begin, end) of one query block that are scanned; all their keys lie before all its rows.
struct ScanRange {
  int begin = 0, end = 0;
};

/// Scans low-bit codes. ranges [q_blocks]; thresholds [q_heads, q_len] in unscaled logit units. The mask's tiles are
/// any number of rows by 32 keys. Adds to the mask.
void scan_codes(const Shape& shape, const SaleCodes& codes, std::span<const ScanRange> ranges,
                std::span<const float> thresholds, MaskView mask);

/// The same on the exact logits q . k of the problem.
void scan_exact(const HostProblem& problem, std::span<const ScanRange> ranges, std::span<const float> thresholds,
                MaskView mask);

}  // namespace salebench::cpu
