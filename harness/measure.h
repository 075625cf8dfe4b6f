// Timing of one cell: samples of select and attend, with the baseline sampled in turn, until the median is known well.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "harness/config.h"

namespace salebench {

/// What one sample runs. Each function does its work once; only select, attend and baseline are timed.
struct TimedWork {
  std::function<void()> before;  ///< evicts caches and poisons the outputs
  std::function<void()> select;  ///< empty for a mask that comes from elsewhere
  std::function<void()> attend;
  std::function<void()> check;  ///< throws if what was just timed computed the wrong thing
  std::function<void()> before_baseline;
  std::function<void()> baseline;  ///< empty for none
};

/// Seconds of each sample, in the order taken.
struct Samples {
  std::vector<double> select, attend, total, baseline;
  double noise = 0;        ///< half width of the 95 % interval of the median total, relative to it
  bool converged = false;  ///< noise fell to max_noise before max_time
};

/// Warms up, then samples in chunks of Google Benchmark iterations with manual time. Stops after min_time and
/// min_samples once noise <= max_noise, or at max_time; with `once`, after one sample without warm-up.
Samples measure(const std::string& name, const TimedWork& work, const MeasureConfig& config, std::uint64_t seed,
                bool once);

}  // namespace salebench
