// In which order cells run, on which of several GPUs, and which of several machines gets them.
#pragma once

#include <string>
#include <vector>

#include "harness/plan/plan.h"

namespace salebench {

/// Seconds that a cell takes if its method takes about as long as dense attention, given FLOP/s of the CPU's dense
/// kernel: start-up, accuracy pass and timing.
double estimated_seconds(const PlannedCell& cell, const MeasureConfig& measure, bool quick, double cpu_flops);

/// A part of a sweep, for one of several machines: `--shard 2/3`.
struct Shard {
  int number = 1, of = 1;

  /// Throws UsageError.
  static Shard parse(const std::string& text);
  std::string text() const;    ///< "2/3"
  std::string folder() const;  ///< "2of3"
};

/// Leaves the cells of one shard, and says so in the plan. The same plan gives the same shards on every machine: cells
/// go, the longest first, to the shard that has the least to do so far, by an estimate that no machine takes part in;
/// rounds of a cell go together, as they are compared with each other.
void keep_shard(Plan& plan, const Shard& shard);

/// For several GPUs: round by round, the longest first, so that none is left alone with a long cell at the end.
void sort_longest_first(std::vector<const PlannedCell*>& cells, const Plan& plan);

}  // namespace salebench
