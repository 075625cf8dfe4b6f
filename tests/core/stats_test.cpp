#include "core/stats.h"

#include <gtest/gtest.h>

#include <cmath>

namespace salebench {
namespace {

TEST(Stats, Quantiles) {
  EXPECT_EQ(median({3, 1, 2}), 2);
  EXPECT_EQ(median({4, 1, 2, 3}), 2.5);
  EXPECT_EQ(quantile({1, 2, 3, 4, 5}, 0.25), 2);
  EXPECT_DOUBLE_EQ(quantile({1, 2, 3, 4}, 0.05), 1.15);
  EXPECT_EQ(quantile({7}, 0.9), 7);
  EXPECT_TRUE(std::isnan(median({})));
}

TEST(Stats, BootstrapIntervalCoversTheMedian) {
  std::vector<double> samples;
  for (int i = 0; i < 101; ++i) samples.push_back(i);
  const Interval interval = median_interval(samples, 1);
  EXPECT_LT(interval.low, 50);
  EXPECT_GT(interval.high, 50);
  EXPECT_GT(interval.low, 30);
  EXPECT_LT(interval.high, 70);
  const Interval again = median_interval(samples, 1);
  EXPECT_EQ(interval.low, again.low);
  EXPECT_EQ(interval.high, again.high);
}

TEST(Stats, RatioIntervalIsPaired) {
  // The denominator moves with the numerator, so their ratio is known exactly.
  std::vector<double> numerator, denominator;
  for (int i = 1; i < 30; ++i) denominator.push_back(i), numerator.push_back(2 * i);
  const Interval interval = ratio_interval(numerator, denominator, 3);
  EXPECT_DOUBLE_EQ(interval.low, 2);
  EXPECT_DOUBLE_EQ(interval.high, 2);
}

}  // namespace
}  // namespace salebench
