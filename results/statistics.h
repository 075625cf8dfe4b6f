// Statistics of repeated measurements. All that is drawn at random is drawn alike in every call, and in rank.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/stats.h"

namespace salebench {

/// A hash of the number of a draw (SplitMix64), as an index below `count`.
std::size_t drawn(std::uint64_t number, std::size_t count);

/// exp of the mean logarithm.
double geometric_mean(const std::vector<double>& values);

/// 95 % bootstrap interval of the geometric mean of medians over rounds, resampling problems and the rounds within
/// each.
Interval rank_interval(const std::vector<std::vector<double>>& speedups);

/// Rounds of one cell before and after.
struct BeforeAndAfter {
  std::vector<double> before, after;
};

/// The same of the ratio of medians, after over before: over cells, and the rounds of either side within each.
Interval ratio_interval(const std::vector<BeforeAndAfter>& cells);

/// Two-sided p of the Mann-Whitney test that the two are alike, by counting all orders; ties count half and are taken
/// for less than they say.
double mann_whitney(const std::vector<double>& a, const std::vector<double>& b);

inline constexpr int kShuffles = 4000;

/// One-sided p that `after` is not larger than `before`, over cells: how often kShuffles shufflings of
/// each cell's rounds between its sides give a geometric mean of ratios of medians that is as large.
double shuffled(const std::vector<BeforeAndAfter>& cells);

/// The p values times how often they are tried, after Holm (1979): a family of tests errs no oftener than each alone.
std::vector<double> holm(const std::vector<double>& p);

}  // namespace salebench
