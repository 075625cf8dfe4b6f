// Statistics of timing samples. Quantiles interpolate linearly between order statistics (R's type 7, NumPy's default).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace salebench {

/// p in [0, 1]; NaN for no samples.
double quantile(std::vector<double> samples, double p);
double median(std::vector<double> samples);

struct Interval {
  double low = 0;
  double high = 0;
};

/// Percentile bootstrap interval at 95 % of a statistic of n paired observations: the statistic receives the indices
/// drawn, with replacement, from [0, n). Seeded, so equal inputs give equal intervals.
Interval bootstrap_interval(int n, const std::function<double(std::span<const int>)>& statistic, std::uint64_t seed,
                            int resamples = 1000);

/// Bootstrap interval of the median.
Interval median_interval(const std::vector<double>& samples, std::uint64_t seed);

/// Bootstrap interval of median(numerator) / median(denominator), drawn in pairs. The sizes must be equal.
Interval ratio_interval(const std::vector<double>& numerator, const std::vector<double>& denominator,
                        std::uint64_t seed);

}  // namespace salebench
