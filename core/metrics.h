// Accuracy of a sparse attention result against the truth, per head and over the heads of a problem.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/block_mask.h"
#include "core/problem.h"
#include "core/truth.h"

namespace salebench {

/// Recall of a row is the sum of the true softmax probability over the keys it keeps. Errors compare what was computed
/// with the exact output, over the rows of the truth.
struct Accuracy {
  double density = 0;                                      ///< kept visible (row, key) pairs / visible pairs
  double tile_density = 0;                                 ///< kept tiles / tiles that hold a visible pair
  double recall_mean = 0, recall_p05 = 0, recall_min = 0;  ///< over rows: mean, 5th percentile, minimum
  double rel_l2 = 0;                                       ///< ||o - o*||_2 / ||o*||_2 over all values
  double max_abs = 0;                                      ///< largest |o - o*|
  double l1_per_token = 0;  ///< sum |o - o*| over a head / rows (SALE, section 3.3); the mean over heads for a problem
  double cos_min = 0;       ///< smallest cosine of a row with the exact one
  double flops_executed = 0;  ///< 4 head_dim FLOPs per (row, key) pair in kept tiles, masked pairs included
  double flops_dense = 0;     ///< 4 head_dim FLOPs per visible pair
};

struct ProblemAccuracy {
  std::vector<Accuracy> heads;
  Accuracy overall;         ///< ratios of sums over heads; quantiles over the rows of all heads
  double rel_l2_worst = 0;  ///< the largest rel_l2 of a head
};

/// Sums over the scored rows of one head, or of several, from which the errors follow.
struct ErrorSums {
  double difference_squared = 0;  ///< sum of (o - o*)^2
  double exact_squared = 0;       ///< sum of o*^2
  double absolute = 0;            ///< sum of |o - o*|
  double max_abs = 0;             ///< largest |o - o*|
  double cos_min = 1;             ///< smallest cosine of a row with the exact one

  void add(const ErrorSums& other);
  double rel_l2() const;
};

/// What is summed up of one head.
struct HeadSums {
  MaskCounts counts;
  ErrorSums errors;
  std::vector<double> recall;  ///< of each scored row
};

/// The figures that follow from the sums of all heads.
ProblemAccuracy accuracy_of(const std::vector<HeadSums>& heads, int head_dim);

/// `output` is [q_heads, q_len, head_dim]. `recall` [q_heads, rows of the truth] is the mask's, in double precision and
/// never from what a method computed: reference_recall() defines it, cpu::mask_recall() is the tuned kernel.
/// `extra_pairs` (query, key) pairs a head, computed outside the mask, count in the density and the FLOPs. Every figure
/// is over `rows`, to which extra pairs go in proportion to their visible pairs. Throws std::invalid_argument if the
/// truth has none of them.
ProblemAccuracy measure_accuracy(const Shape& shape, const Truth& truth, ConstMaskView mask,
                                 std::span<const float> output, std::span<const double> recall,
                                 std::int64_t extra_pairs = 0, const RowSet& rows = {});

}  // namespace salebench
