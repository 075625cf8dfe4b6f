#include "results/statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace salebench {
namespace {

constexpr int kDraws = 1000, kLow = 25, kHigh = 974;  // of ordered draws, the ends of 95 %
constexpr int kRoundBits = 8, kProblemBits = 24;      // of a draw's number

std::vector<double> again(const std::vector<double>& rounds, std::uint64_t first) {
  std::vector<double> values;
  for (std::uint64_t r = 0; r < rounds.size(); ++r) values.push_back(rounds[drawn(first + r, rounds.size())]);
  return values;
}

/// The ends of what `mean_of(draw)` gives.
template <class MeanOf>
Interval interval_of(const MeanOf& mean_of) {
  std::vector<double> means;
  for (std::uint64_t draw = 0; draw < kDraws; ++draw) means.push_back(mean_of(draw << kProblemBits));
  std::ranges::sort(means);
  return {means[kLow], means[kHigh]};
}

/// In how many orders of n and m values U, the pairs in which one of the n is larger, is each number.
std::vector<double> orders_by_u(std::size_t n, std::size_t m) {
  std::vector<std::vector<double>> counts(m + 1, std::vector<double>(n * m + 1));
  for (std::size_t j = 0; j <= m; ++j) counts[j][0] = 1;  // of no values and j
  for (std::size_t i = 1; i <= n; ++i)
    for (std::size_t j = 1; j <= m; ++j) {
      // The largest is one of the i, above all j, or one of the j. counts[j] is still of i - 1, counts[j - 1] of i.
      std::vector<double> next = counts[j - 1];
      for (std::size_t u = j; u <= n * m; ++u) next[u] += counts[j][u - j];
      counts[j] = std::move(next);
    }
  return counts[m];
}

}  // namespace

std::size_t drawn(std::uint64_t number, std::size_t count) {
  std::uint64_t x = (number + 1) * 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  x ^= x >> 31;
  return std::size_t(((x >> 32) * count) >> 32);
}

double geometric_mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += std::log(value);
  return std::exp(sum / double(values.size()));
}

Interval rank_interval(const std::vector<std::vector<double>>& speedups) {
  return interval_of([&](std::uint64_t draw) {
    std::vector<double> medians;
    for (std::uint64_t i = 0; i < speedups.size(); ++i) {
      const std::uint64_t first = (draw | i) << kRoundBits;
      medians.push_back(median(again(speedups[drawn(first, speedups.size())], first + 1)));
    }
    return geometric_mean(medians);
  });
}

Interval ratio_interval(const std::vector<BeforeAndAfter>& cells) {
  return interval_of([&](std::uint64_t draw) {
    std::vector<double> ratios;
    for (std::uint64_t i = 0; i < cells.size(); ++i) {
      const std::uint64_t first = (draw | i) << kRoundBits;
      const BeforeAndAfter& cell = cells[drawn(first, cells.size())];
      ratios.push_back(median(again(cell.after, first + 1 + cell.before.size())) /
                       median(again(cell.before, first + 1)));
    }
    return geometric_mean(ratios);
  });
}

double mann_whitney(const std::vector<double>& a, const std::vector<double>& b) {
  double u = 0;
  for (const double x : a)
    for (const double y : b) u += x > y ? 1 : x == y ? 0.5 : 0;
  const double pairs = double(a.size() * b.size());
  const auto far = std::size_t(std::ceil(std::min(u, pairs - u)));
  const std::vector<double> orders = orders_by_u(a.size(), b.size());
  const double all = std::accumulate(orders.begin(), orders.end(), 0.0);
  return std::min(1.0, 2 * std::accumulate(orders.begin(), orders.begin() + std::ptrdiff_t(far) + 1, 0.0) / all);
}

double shuffled(const std::vector<BeforeAndAfter>& cells) {
  const auto log_ratio = [](const std::vector<double>& before, const std::vector<double>& after) {
    return std::log(median(after) / median(before));
  };
  double seen = 0;
  for (const BeforeAndAfter& cell : cells) seen += log_ratio(cell.before, cell.after);
  int as_large = 1;  // the order that was seen is one of them
  std::vector<double> both;
  for (std::uint64_t way = 0; way < std::uint64_t(kShuffles); ++way) {
    double sum = 0;
    for (std::uint64_t i = 0; i < cells.size(); ++i) {
      both = cells[i].before;
      both.insert(both.end(), cells[i].after.begin(), cells[i].after.end());
      for (std::size_t n = both.size(); n > 1; --n)
        std::swap(both[n - 1], both[drawn((way << kProblemBits | i) << kRoundBits | n, n)]);
      const auto middle = both.begin() + std::ptrdiff_t(cells[i].before.size());
      sum += log_ratio({both.begin(), middle}, {middle, both.end()});
    }
    as_large += sum >= seen - 1e-12 * std::fabs(seen);
  }
  return double(as_large) / double(kShuffles + 1);
}

std::vector<double> holm(const std::vector<double>& p) {
  std::vector<std::size_t> order(p.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::sort(order, {}, [&](std::size_t i) { return p[i]; });
  std::vector<double> adjusted(p.size());
  double largest = 0;
  for (std::size_t n = 0; n < order.size(); ++n)
    adjusted[order[n]] = largest = std::max(largest, std::min(1.0, p[order[n]] * double(order.size() - n)));
  return adjusted;
}

}  // namespace salebench
