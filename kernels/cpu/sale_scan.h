// SALE's selection pass: keeps the middle key blocks in which any estimated logit reaches its row's threshold.
#pragma once

#include <span>
#include <vector>

#include "core/block_mask.h"
#include "core/problem.h"
#include "kernels/cpu/sale_quantize.h"
#include "kernels/cpu/workspace.h"

namespace salebench::cpu {

/// Key blocks [begin, end) of one query block that are scanned; all its rows see all their keys.
struct ScanRange {
  int begin = 0, end = 0;
};

/// Thresholds that follow what is found: before each segment of the middle, a row's threshold rises by what the exact
/// logits of the blocks kept so far add to its log-sum-exp.
struct RunningReference {
  HostProblem problem;                   ///< exact logits
  std::span<const float> log_threshold;  ///< [q_heads]: threshold = (log-sum-exp + log_threshold) / scale
  int segment = 4;                       ///< key blocks
};

/// Scans low-bit codes. ranges [q_blocks]; thresholds [q_heads, q_len] in unscaled logit units. The mask's tiles are
/// any number of rows by a multiple of 32 keys; tiles that it keeps already are skipped. Adds to the mask. `running`
/// may be null: the thresholds stay.
void scan_codes(const Shape& shape, const SaleCodes& codes, std::span<const ScanRange> ranges,
                std::span<const float> thresholds, MaskView mask, const RunningReference* running = nullptr,
                Workspace& work = Workspace::of_thread());

/// The same on the logits q . k of the problem plus key_bias [q_heads, kv_len rounded up to 32], if there is one.
void scan_exact(const HostProblem& problem, std::span<const ScanRange> ranges, std::span<const float> thresholds,
                MaskView mask, const RunningReference* running = nullptr, std::span<const float> key_bias = {});

}  // namespace salebench::cpu
