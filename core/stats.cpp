#include "core/stats.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

namespace salebench {

double quantile(std::vector<double> samples, double p) {
  if (samples.empty()) return std::numeric_limits<double>::quiet_NaN();
  const double place = p * double(samples.size() - 1);
  const std::size_t below = std::size_t(place);
  std::nth_element(samples.begin(), samples.begin() + below, samples.end());
  const double low = samples[below];
  if (below + 1 == samples.size()) return low;
  const double high = *std::min_element(samples.begin() + below + 1, samples.end());
  return low + (place - double(below)) * (high - low);
}

double median(std::vector<double> samples) {
  return quantile(std::move(samples), 0.5);
}

Interval bootstrap_interval(int n, const std::function<double(std::span<const int>)>& statistic, std::uint64_t seed,
                            int resamples) {
  std::mt19937_64 random(seed);
  std::vector<int> drawn(n);
  std::vector<double> values(resamples);
  for (double& value : values) {
    for (int& i : drawn) i = int(random() % std::uint64_t(n));
    value = statistic(drawn);
  }
  return {quantile(values, 0.025), quantile(values, 0.975)};
}

namespace {

double median_of(const std::vector<double>& samples, std::span<const int> drawn) {
  std::vector<double> picked;
  picked.reserve(drawn.size());
  for (const int i : drawn) picked.push_back(samples[i]);
  return median(std::move(picked));
}

}  // namespace

Interval median_interval(const std::vector<double>& samples, std::uint64_t seed) {
  return bootstrap_interval(
      int(samples.size()), [&](std::span<const int> drawn) { return median_of(samples, drawn); }, seed);
}

Interval ratio_interval(const std::vector<double>& numerator, const std::vector<double>& denominator,
                        std::uint64_t seed) {
  return bootstrap_interval(
      int(numerator.size()),
      [&](std::span<const int> drawn) { return median_of(numerator, drawn) / median_of(denominator, drawn); }, seed);
}

}  // namespace salebench
