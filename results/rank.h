// Which method is fastest at equal quality, over all problems of a run. rank.py says the same of a run.h5;
// tests/cases/same_figures.json holds both.
#pragma once

#include <string>
#include <vector>

#include "results/schema.h"

namespace salebench {

/// What a setting must reach at a problem.
struct RankTarget {
  enum class Metric { recall, error };
  Metric metric = Metric::error;
  double value = 0;        ///< at least this mean recall, or at most this relative L2 error of the output
  bool each_head = false;  ///< error alone: of the worst head instead of the problem
  double slack = 0;        ///< an error may be larger than the target by this share of it, or so may 1 - recall

  double figure(const CellRecord& record) const;
  bool is_better(double figure, double other) const {
    return metric == Metric::recall ? figure > other : figure < other;
  }
  bool reached(double figure) const;
};

/// The targets that cells were calibrated for, each once.
std::vector<RankTarget> calibrated_targets(const std::vector<CellRecord>& records);

enum class RankBy { run, layer, length, dataset };

struct RankOptions {
  RankTarget target;
  RankBy by = RankBy::run;
  bool interpolate = false;  ///< between two settings of a method that differ in its knob alone, one of which misses
};

/// A method over all problems of a part of the run. NaN where there is nothing to say.
struct RankRow {
  /// Oracles read the answer first, and the times of attention_only leave out the making of the mask: no rivals.
  enum class Kind { rival, attention_only, oracle };

  std::string setup;  ///< how it was measured, where the run has several ways
  std::string part;   ///< of --by: "layer 3", "8192" or a data set; empty for the run
  std::string method;
  Kind kind = Kind::rival;
  bool is_baseline = false;
  int problems = 0;      ///< of this part and setup
  int reached = 0;       ///< at how many some setting reached the target
  int interpolated = 0;  ///< of which between two settings
  int doubtful = 0;      ///< of which measured on a busy machine, or not converged
  double speedup = 1;    ///< geometric mean of the fastest such settings', over all problems, a miss as 1
  double lo = kNoValue, hi = kNoValue;  ///< 95 % bootstrap interval of it, over problems and rounds
  double speedup_reached = kNoValue;    ///< the same mean over the problems reached
  double density = kNoValue;            ///< mean over those
  double error = kNoValue,
         recall = kNoValue;        ///< the worst of those: rel_l2 (of a head where the target is), recall_mean
  double select_share = kNoValue;  ///< mean share of the selection in the time of those that select
  double missed_by = kNoValue;     ///< the best figure at the problem where that is worst; NaN if none falls short
};

/// Rivals by speedup, those that reach the target nowhere last by how far they came; then masks made elsewhere, then
/// oracles; parts and setups one after the other. Cells that failed count as misses.
std::vector<RankRow> rank(const std::vector<CellRecord>& records, const RankOptions& options);

/// Two methods of a setup, each by the fastest of its settings that reach the target.
struct MethodRatio {
  std::string setup;
  int problems = 0, both = 0, first_alone = 0, second_alone = 0;  ///< of the setup; where they reach the target
  double ratio = kNoValue;              ///< speedup of the first over that of the second, geometric mean where both do
  double lo = kNoValue, hi = kNoValue;  ///< 95 % bootstrap interval of it, over problems and rounds
};

/// One for each setup of the run.
std::vector<MethodRatio> method_ratios(const std::vector<CellRecord>& records, const RankOptions& options,
                                       const std::string& first, const std::string& second);

}  // namespace salebench
