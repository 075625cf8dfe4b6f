// Two runs of the same cells: what became faster or slower, and what another result.
#pragma once

#include <string>
#include <vector>

#include "results/schema.h"

namespace salebench {

struct CompareOptions {
  double floor = 0.02;  ///< changes of times up to this share are noise, whatever their statistics say
  int processes = 4;    ///< rounds that either side needs at least; a cell among many needs more to be sure of
  double error = 0.05;  ///< chance that a comparison of equal runs calls anything slower or faster
};

enum class Verdict { same, faster, slower, too_few };

/// How times changed. A time counts as slower or faster if it is so beyond the floor over the baseline's, which was
/// timed beside it, and beyond half of it by itself or over the other methods' times: a changed baseline shows in the
/// first alone, and the machine's mood, which would hide a change by itself, is in the other methods too.
struct TimeChange {
  double ratio = kNoValue;                   ///< total_s, new over base, of medians over rounds
  double relative = kNoValue;                ///< the same of total_s / dense_s
  double others = kNoValue;                  ///< the geometric mean of `ratio` over the cells of other methods
  double lo = kNoValue, hi = kNoValue;       ///< 95 % bootstrap interval of `relative`, over processes
  double p = kNoValue, adjusted = kNoValue;  ///< of no change; after Holm over all that are tested
  double least_p = kNoValue;                 ///< the smallest p that so many rounds can give
  Verdict verdict = Verdict::too_few;
};

/// A cell of both runs, with its rounds.
struct ComparedCell : TimeChange {
  CellRecord base, fresh;                 ///< medians of times where there are usable ones
  int base_rounds = 0, fresh_rounds = 0;  ///< with usable times, of a machine that did nothing else
  bool failed = false;                    ///< was ok and has a round now that is not: `fresh`
  bool worse = false;                     ///< less recall by 0.001, or an error larger by 1 %
};

/// All cells of a method: ratios are geometric means, p is of no change beyond the floor, by shuffling rounds.
struct ComparedMethod : TimeChange {
  std::string method;
  int cells = 0;  ///< with enough processes on either side
};

struct Comparison {
  std::vector<ComparedCell> cells;      ///< in the order of the base
  std::vector<ComparedMethod> methods;  ///< baselines left out, as they are what others are timed against
  int only_base = 0, only_fresh = 0;    ///< settings without a partner
  int busy = 0;                         ///< rounds left out, as other processes took the cores
  double baseline = kNoValue;           ///< how times of the baseline changed, geometric mean over cells
};

/// Cells are of one problem (by its values), method, parameters, copies, backend, threads and cache.
Comparison compare(const std::vector<CellRecord>& base, const std::vector<CellRecord>& fresh,
                   const CompareOptions& options);

/// What the runs' machines differ in, such as "host: X, not Y"; empty for alike ones.
std::string other_hardware(const std::vector<CellRecord>& base, const std::vector<CellRecord>& fresh);

}  // namespace salebench
