// Accuracy of a sparse attention result against the truth, per head and over the heads of a problem: one table of
// figures, which results, calibration, reports and their documentation read.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "core/block_mask.h"
#include "core/error_sums.h"
#include "core/problem.h"
#include "core/truth.h"

namespace salebench {

inline constexpr double kNoValue = std::numeric_limits<double>::quiet_NaN();

/// The figures of one head or of all; figures() says what each means. NaN where there is none.
struct Accuracy {
  double density = kNoValue, tile_density = kNoValue;
  double recall_mean = kNoValue, recall_p05 = kNoValue, recall_min = kNoValue;
  double rel_l2 = kNoValue, rel_l2_worst = kNoValue, mask_rel_l2 = kNoValue;
  double attend_rel_l2 = kNoValue, attend_gain = kNoValue;
  double max_abs = kNoValue, l1_per_token = kNoValue, cos_min = kNoValue, gain = kNoValue;
  double flops_executed = kNoValue, flops_dense = kNoValue;
};

/// What is summed up of one head, or of several.
struct HeadSums {
  int head_dim = 0;
  MaskCounts counts;
  ErrorSums errors;                 ///< of what the method computed
  std::optional<ErrorSums> masked;  ///< of exact attention over its mask, where that is known
  std::optional<ErrorSums> attend;  ///< of what the method computed, against that; where they are not the same
  std::vector<double> recall;       ///< of each scored row: the true softmax probability of the keys that it keeps
  double rel_l2_worst = 0;          ///< the largest relative L2 error of a head

  void add(const HeadSums& head);
};

/// Which way a figure is better.
enum class Better { larger, smaller, neither };

/// One figure of accuracy: all that is said of it anywhere.
struct Figure {
  const char* name;     ///< column, and member
  const char* unit;     ///< "" for none
  const char* label;    ///< in plots and tables for people
  const char* meaning;  ///< in the documentation
  double Accuracy::*member;
  double (*of)(const HeadSums& sums);
  const char* calibrated = "";  ///< its name in calibrations; "" where they leave it out
  Better better = Better::neither;
  bool of_head = true;  ///< whether it says anything of a single head
  bool target = false;  ///< whether `calibrate` may aim at it
};

/// All figures, in the order of result files.
std::span<const Figure> figures();

/// The figure that calibrations call by a name. Throws std::invalid_argument if there is none.
const Figure& calibrated_figure(std::string_view name);

/// The worse of two values of a figure, either of which may be NaN; the larger where neither is better.
double worse(const Figure& figure, double a, double b);

struct ProblemAccuracy {
  std::vector<Accuracy> heads;
  Accuracy overall;  ///< ratios of sums over heads; quantiles over the rows of all heads
};

/// The figures that follow from the sums of all heads.
ProblemAccuracy accuracy_of(const std::vector<HeadSums>& heads);

/// The sums of each head. `output` is [q_heads, q_len, head_dim], and so is `masked`, exact attention over the mask:
/// the same where that is what was computed, empty where it is not known. `recall` [q_heads, rows of the truth] is the
/// mask's, in double precision and never from what a method computed: reference_recall() defines it, cpu::mask_recall()
/// is the tuned kernel. `extra_pairs` (query, key) pairs a head, computed outside the mask, count in the density and
/// the FLOPs. Every figure is over `rows`, to which extra pairs go in proportion to their visible pairs. Throws
/// std::invalid_argument if the truth has none of them.
std::vector<HeadSums> sum_heads(const Shape& shape, const Truth& truth, ConstMaskView mask,
                                std::span<const float> output, std::span<const float> masked,
                                std::span<const double> recall, std::int64_t extra_pairs = 0, const RowSet& rows = {});

/// accuracy_of() those sums where the method's attention over its mask is exact.
ProblemAccuracy measure_accuracy(const Shape& shape, const Truth& truth, ConstMaskView mask,
                                 std::span<const float> output, std::span<const double> recall,
                                 std::int64_t extra_pairs = 0, const RowSet& rows = {});

}  // namespace salebench
