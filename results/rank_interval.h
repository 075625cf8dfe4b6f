// Bootstrap of a geometric mean over problems, each with the speedups of its rounds.
#pragma once

#include <vector>

namespace salebench {

struct RankInterval {
  double lo, hi;
};

/// 95 % interval of the geometric mean of medians over rounds, resampling problems and the rounds within each. The
/// draws are those of every call, in rank.py too.
RankInterval rank_interval(const std::vector<std::vector<double>>& speedups);

/// exp of the mean logarithm.
double geometric_mean(const std::vector<double>& values);

}  // namespace salebench
