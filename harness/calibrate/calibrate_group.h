// Calibrating one method setting on problems that share their values: the same heads on several prompts, or all
// problems where one value is wanted for them.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "harness/calibrate/calibrate_config.h"
#include "harness/calibrate/calibrate_score.h"

namespace salebench {

struct CalibrationGroup {
  std::string id;                       ///< of the problem; "all problems" for scope: global
  std::vector<ScoredProblem> problems;  ///< those that values are fitted to, then those that are only scored
};

/// What one value came to: ok; unreachable, if even the value that keeps most misses the target; fixed, for a method
/// without a knob; not_reproduced, if the last evaluation missed a target that the search had met.
struct UnitOutcome {
  double value = kNoValue;
  std::string status;
  int evaluations = 0;
};

/// One setting and one target on one group.
struct GroupOutcome {
  Target target;
  std::string failure;             ///< "", "unsupported" or "error": the whole group has no values
  std::string reason;              ///< of the failure
  std::vector<UnitOutcome> units;  ///< [q_heads] for scope: head, otherwise one
  std::vector<Score> scores;       ///< of each problem of the group, at these values
  std::vector<double> select_s;    ///< of each problem: median time of select_fast over all evaluations
};

/// Finds the values for every target of the config; `evaluated` is told after each evaluation how many there were. A
/// method that throws costs its own outcomes. Throws Stopped once interrupted.
std::vector<GroupOutcome> calibrate_group(const MethodSetting& setting, const CalibrationGroup& group,
                                          const CalibrateConfig& config,
                                          const std::function<void(int)>& evaluated = {});

}  // namespace salebench
