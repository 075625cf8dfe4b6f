#include "results/rank_interval.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace salebench {
namespace {

constexpr int kDraws = 1000, kLow = 25, kHigh = 974;  // of ordered draws, the ends of 95 %
constexpr int kRoundBits = 8, kProblemBits = 24;      // of a draw's number

/// A hash of the number of a draw (SplitMix64), as an index below `count`.
std::size_t drawn(std::uint64_t number, std::size_t count) {
  std::uint64_t x = (number + 1) * 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  x ^= x >> 31;
  return std::size_t(((x >> 32) * count) >> 32);
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

}  // namespace

double geometric_mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += std::log(value);
  return std::exp(sum / double(values.size()));
}

RankInterval rank_interval(const std::vector<std::vector<double>>& speedups) {
  std::vector<double> means;
  for (std::uint64_t draw = 0; draw < kDraws; ++draw) {
    std::vector<double> medians;
    for (std::uint64_t i = 0; i < speedups.size(); ++i) {
      const std::uint64_t first = (draw << kProblemBits | i) << kRoundBits;
      const std::vector<double>& rounds = speedups[drawn(first, speedups.size())];
      std::vector<double> again;
      for (std::uint64_t r = 0; r < rounds.size(); ++r) again.push_back(rounds[drawn(first + 1 + r, rounds.size())]);
      medians.push_back(median(std::move(again)));
    }
    means.push_back(geometric_mean(medians));
  }
  std::ranges::sort(means);
  return {means[kLow], means[kHigh]};
}

}  // namespace salebench
