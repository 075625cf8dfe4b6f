// The search for the cheapest value of a knob that meets an error target: bisection, or SALE's halving. It knows no
// method: it says which value to try next, and is told what came of it.
#pragma once

#include <fmt/format.h>

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/metrics.h"
#include "core/params.h"

namespace salebench {

struct SearchSettings {
  std::string kind = "bisection";  ///< or "paper": halving as in SALE, section 3.3
  double tolerance = 0.01;         ///< bisection ends once the two sides' densities differ by less than this share
  int rounds = 24;                 ///< the most values that a search tries
  double smallest = 1e-9;          ///< stands for a lower end of 0 in the log domain, as a share of the upper end
  double start = 0.008;            ///< paper: the first value
  double factor = 0.5;             ///< paper: from one value to the next
  double stop = 1e-4;              ///< paper: a value down here becomes the end that keeps most
};

/// The values that a knob may take.
struct KnobRange {
  double low = 0, high = 1;
  bool whole = false;  ///< only whole numbers
  Knob::Trend larger = Knob::Trend::keeps_more;

  double keeps_most() const { return larger == Knob::Trend::keeps_more ? high : low; }
  double keeps_least() const { return larger == Knob::Trend::keeps_more ? low : high; }
};

/// The range of a parameter that sets a knob.
KnobRange range_of(const Param& param);

/// Throws Unsupported if the settings' search can't be used for a knob of this range.
void check_search(const KnobRange& range, const SearchSettings& settings);

/// One search. What it ends with was tried and met the target, even where the error is not quite monotone.
class KnobSearch {
 public:
  KnobSearch(const KnobRange& range, const SearchSettings& settings);

  /// The value to try; nothing once the search is over.
  std::optional<double> next() const { return next_; }
  /// What came of next(): whether it met the target, and the density of its mask.
  void tried(bool meets, double density);

  /// False if even the value that keeps most misses the target; value() is then that one.
  bool reached() const { return reached_; }
  double value() const { return value_; }
  int evaluations() const { return evaluations_; }

 private:
  void bisect(bool meets, double density);
  void halve(bool meets);
  std::optional<double> middle() const;
  double log_of(double value) const;

  KnobRange range_;
  SearchSettings settings_;
  std::optional<double> next_;
  bool reached_ = false;
  double value_ = 0;
  int evaluations_ = 0;
  double met_density_ = 1;                  // of value_
  double missed_ = 0, missed_density_ = 0;  // the value nearest to value_ that missed the target
};

/// What a calibration aims at.
struct Target {
  std::string metric = "rel_l2";  ///< a figure that may be a target, by its name in calibrations
  double limit = 0;

  const Figure& figure() const { return calibrated_figure(metric); }
  /// Errors must be below the limit, as SALE has it; what is better if larger, as a recall, must reach it.
  bool met_by(const Accuracy& accuracy) const;
  std::string text() const { return fmt::format("{}={}", metric, limit); }
};

/// Figures of each unit, which is what one search finds a value for: a head, a problem, or all problems. values: one a
/// unit.
using EvaluateUnits = std::function<std::vector<Accuracy>(std::span<const double> values)>;

/// Searches for all units at once, so that one evaluation serves each of them, and remembers what was evaluated, so
/// that several targets share it. What is found does not depend on the targets searched for before.
class UnitSearches {
 public:
  UnitSearches(const KnobRange& range, const SearchSettings& settings, int units, EvaluateUnits evaluate)
      : range_(range), settings_(settings), evaluate_(std::move(evaluate)), known_(std::size_t(units)) {}

  std::vector<KnobSearch> run(const Target& target);

 private:
  KnobRange range_;
  SearchSettings settings_;
  EvaluateUnits evaluate_;
  std::vector<std::map<double, Accuracy>> known_;  // [units]
};

}  // namespace salebench
