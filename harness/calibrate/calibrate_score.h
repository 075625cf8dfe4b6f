// One evaluation of a calibration: a method at given values of its knob on one problem, scored on parts of the rows.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "core/metrics.h"
#include "core/registry.h"
#include "datasets/truth_cache.h"
#include "harness/plan/plan.h"

namespace salebench {

/// A method with all of its parameters but the knob.
struct MethodSetting {
  std::string method;
  ParamValues values;      ///< those that the config sets
  std::string label = {};  ///< what it calls them

  std::string text() const { return method + (values.empty() ? "" : " ") + param_text(values); }
};

/// A problem in memory with its truth, and the rows to score. A part without rows takes no part.
struct ScoredProblem {
  CheckedView view;
  ProblemTensors tensors;
  Truth truth;
  RowSet fit, held_out;
  bool has_fit = true, has_held_out = true;
};

/// The rows that values are fitted to, the others being held out: in groups of 128 rows, `first_half` takes the first
/// half of the groups, `even_blocks` every other one, `all` all of them.
RowSet fit_rows(const std::string& fit, int q_len);

/// Loads a problem with its truth; `fitted` is false for a data set that is only scored. Throws DataError, and Stopped
/// as `progress` wants.
ScoredProblem load_scored(const CheckedView& view, const std::string& fit, bool fitted, const TruthCache& cache,
                          const TruthKey& key, const ProgressCall& progress);

/// Accuracy over the rows of each part; no heads where there are none.
struct Score {
  ProblemAccuracy fit, held_out;
  double attend_s = 0;  ///< wall time of attend
};

class Scorer {
 public:
  Scorer(MethodSetting setting, const ScoredProblem& problem, std::uint64_t seed)
      : setting_(std::move(setting)), problem_(problem), seed_(seed) {}

  /// Scores the method at one value for each query head; `values` may be empty for a method without a knob. A knob that
  /// heads must share is evaluated at each distinct value; the relative L2 error of the problem is then NaN.
  /// `everything`: the held-out rows too, otherwise those to fit. Throws what the method throws, and Incorrect as
  /// checked_run() does.
  Score score(std::span<const double> values, bool everything);

  /// Wall times of select_fast, in seconds, one an evaluation.
  const std::vector<double>& select_times() const { return select_times_; }

 private:
  Score score_once(std::span<const double> values, bool everything);
  Score score_each(std::span<const double> values, bool everything);

  MethodSetting setting_;
  const ScoredProblem& problem_;
  std::uint64_t seed_;
  std::vector<double> select_times_;
};

}  // namespace salebench
