// What SALE keeps unseen and what it scans: sink, middle and local key blocks of a query block; and its thresholds.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/params.h"
#include "kernels/cpu/sale_scan.h"

namespace salebench::sale {

inline constexpr int kDenseLength = 1024;        ///< inputs up to this length run dense
inline constexpr double kDenseThreshold = 1e-5;  ///< lower thresholds mean a dense head
inline constexpr int kUnit = 32;                 ///< keys of the paper's key block, in which local_blocks counts
inline constexpr int kSegmentKeys = 128;         ///< the middle is scanned in groups of whole segments
inline constexpr int kReferenceLength = 8192;    ///< where threshold_scaling changes nothing

inline bool short_input(const Shape& shape) {
  return shape.kv_len <= kDenseLength;
}

/// Key blocks of a segment: 4 of 32 keys.
inline int segment_blocks(const BlockGrid& grid) {
  return std::max(1, kSegmentKeys / grid.block.k);
}

/// The middle of a query block, in key blocks: all between the sink, which is key block 0, and the local ones. For 64 x
/// 32 tiles this is the paper's geometry. In general at least 32 local_blocks keys up to the query block's last row are
/// local, 1 more for each row of the query block above 64 so that its first row has as many before it, and so are all
/// blocks of the diagonal; the rest is rounded down to whole segments. Under a sliding window the key blocks that it
/// cuts for some row take the place of the sink, so that every row sees all that is scanned.
inline cpu::ScanRange middle_of(const BlockGrid& grid, int qb, int local_blocks) {
  const int begin = std::max(1, grid.uncut_begin(qb)), end = grid.causal_end(qb), segment = segment_blocks(grid);
  const int local_keys = kUnit * local_blocks + std::max(0, grid.block.q - 64);
  const int local = std::max((local_keys + grid.block.k - 1) / grid.block.k, end - grid.diagonal_begin(qb));
  const int scanned = segment * std::max(0, (end - begin - local) / segment);
  return {std::min(begin, end), std::min(begin, end) + scanned};
}

/// Keeps the sink and local blocks of a head; returns the middle of each query block.
inline std::vector<cpu::ScanRange> keep_sink_and_local(MaskView mask, int head, int local_blocks) {
  std::vector<cpu::ScanRange> middle;
  for (int qb = 0; qb < mask.grid.q_blocks(); ++qb) {
    middle.push_back(middle_of(mask.grid, qb, local_blocks));
    mask.keep_range(head, qb, mask.grid.visible_begin(qb), middle.back().begin);
    mask.keep_range(head, qb, middle.back().end, mask.grid.causal_end(qb));
  }
  return middle;
}

/// ln of the threshold that is compared with. A fixed threshold bounds each skipped entry, so the bound of their sum
/// grows with the length; `inverse_length` scales it by 8192 / kv_len, which keeps that bound.
inline double log_threshold(double threshold, bool inverse_length, int kv_len) {
  return std::log(threshold) + (inverse_length ? std::log(double(kReferenceLength) / kv_len) : 0.0);
}

/// Log-sum-exp of scale * q . k over the keys that row i sees and whose block is kept in the mask.
inline double kept_lse(const HostProblem& p, ConstMaskView mask, int head, int i, const float* q) {
  const int dim = p.shape.head_dim, qb = i / mask.grid.block.q;
  std::vector<double> logits;
  for (int j = p.key_begin(i); j < p.key_end(i); ++j) {
    if (!mask.kept(head, qb, j / mask.grid.block.k)) continue;
    double dot = 0;
    for (int d = 0; d < dim; ++d) dot += double(q[d]) * p.k_of(head)[std::size_t(j) * dim + d];
    logits.push_back(p.scale * dot);
  }
  const double m = *std::max_element(logits.begin(), logits.end());
  double l = 0;
  for (const double x : logits) l += std::exp(x - m);
  return m + std::log(l);
}

}  // namespace salebench::sale
