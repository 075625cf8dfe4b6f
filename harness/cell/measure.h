// Timing of one cell: samples of select and attend, with the baseline sampled in turn, until the median is known well.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "harness/plan/config.h"
#include "results/schema.h"

namespace salebench {

/// Seconds of the phases of one sample of a method.
struct PhaseTimes {
  double select = 0;  ///< 0 where there is none to time
  double index = 0;   ///< a mask to lists; 0 where attention reads the mask itself
  double attend = 0;
  double sm_clock_mhz = kNoValue;  ///< mean over the sample, on a CUDA device

  double total() const { return select + index + attend; }
};

/// What a cell repeats.
struct TimedWork {
  /// One run of the method: brings caches and outputs to their starting state, times the phases, and checks what they
  /// computed. Throws if it is wrong.
  std::function<PhaseTimes()> sample;
  std::function<double()> baseline;  ///< seconds of one run of the baseline; empty for none
  /// One run on changed tensors, checked and not timed, at samples that the method can't foresee; empty for none.
  std::function<void()> changed;
  bool has_selection = true;
  bool has_index = false;
};

/// Seconds of each sample, in the order taken.
struct Samples {
  std::vector<double> select, index, attend, total, baseline;  ///< empty for a phase that the work has not
  std::vector<double> sm_clock_mhz;                            ///< of each sample; NaN where it is not known
  double noise = 0;        ///< half width of the 95 % interval of the median total, relative to it
  bool converged = false;  ///< noise fell to max_noise before max_time
};

/// Warms up, then samples in chunks of Google Benchmark iterations with manual time. Stops after min_time and
/// min_samples once noise <= max_noise, or at max_time; with `once`, after one sample without warm-up.
Samples measure(const std::string& name, const TimedWork& work, const MeasureConfig& config, std::uint64_t seed,
                bool once);

}  // namespace salebench
