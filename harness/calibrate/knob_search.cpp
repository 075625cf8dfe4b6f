#include "harness/calibrate/knob_search.h"

#include <algorithm>
#include <cmath>

#include "core/status.h"

namespace salebench {
namespace {

/// Bisection ends here in any case: sides this close, relative, are one value.
constexpr double kSameValue = 1e-4;

}  // namespace

KnobRange range_of(const Param& param) {
  return {param.low(), param.high(), param.type() == "int", param.knob()->larger};
}

void check_search(const KnobRange& range, const SearchSettings& settings) {
  if (settings.kind == "bisection") {
    if (range.low < 0) throw Unsupported("bisection in the log domain needs a range that starts at 0 or above");
    return;
  }
  if (range.larger == Knob::Trend::keeps_more)
    throw Unsupported("search: paper lowers a value until the error is small enough; this one keeps more as it grows");
  if (range.whole || settings.start < range.low || settings.start > range.high)
    throw Unsupported(fmt::format("search: paper starts at {}, which is outside {} to {}{}; set calibrate.start",
                                  settings.start, range.low, range.high, range.whole ? " in whole numbers" : ""));
}

KnobSearch::KnobSearch(const KnobRange& range, const SearchSettings& settings)
    : range_(range),
      settings_(settings),
      next_(settings.kind == "paper" ? settings.start : range.keeps_least()),
      value_(range.keeps_most()) {}

void KnobSearch::tried(bool meets, double density) {
  ++evaluations_;
  if (settings_.kind == "paper")
    halve(meets);
  else
    bisect(meets, density);
}

void KnobSearch::halve(bool meets) {
  const double tried = *next_;
  if (meets) {
    reached_ = true, value_ = tried;
    next_.reset();
  } else if (tried == range_.keeps_most()) {
    next_.reset();
  } else {
    const double lower = tried * settings_.factor;
    next_ = lower <= std::max(settings_.stop, range_.low) ? range_.keeps_most() : lower;
  }
}

/// First the end that keeps least, then the one that keeps most, then between what missed and what met the target.
void KnobSearch::bisect(bool meets, double density) {
  const double tried = *next_;
  next_.reset();
  if (meets) {
    reached_ = true, value_ = tried, met_density_ = density;
  } else {
    missed_ = tried, missed_density_ = density;
  }
  if (tried == range_.keeps_least()) {
    if (!meets && range_.low < range_.high) next_ = range_.keeps_most();
  } else if (reached_ && evaluations_ < settings_.rounds &&
             met_density_ - missed_density_ > settings_.tolerance * met_density_) {
    next_ = middle();
  }
}

double KnobSearch::log_of(double value) const {
  const double smallest = range_.whole ? 1 : settings_.smallest * range_.high;
  return std::log(std::max(value, range_.low > 0 ? range_.low : smallest));
}

std::optional<double> KnobSearch::middle() const {
  const double met = log_of(value_), missed = log_of(missed_);
  const double between = std::exp(0.5 * (met + missed));
  if (!range_.whole) return std::fabs(met - missed) > kSameValue ? std::optional(between) : std::nullopt;
  const double low = std::min(value_, missed_) + 1, high = std::max(value_, missed_) - 1;
  return low <= high ? std::optional(std::clamp(std::round(between), low, high)) : std::nullopt;
}

bool Target::met_by(const Accuracy& accuracy) const {
  const double value = accuracy.*figure().member;
  return figure().better == Better::larger ? value >= limit : value < limit;
}

std::vector<KnobSearch> UnitSearches::run(const Target& target) {
  std::vector<KnobSearch> searches(known_.size(), KnobSearch(range_, settings_));
  while (true) {
    // A unit that is done gets the value that is cheapest to evaluate.
    std::vector<double> values(known_.size(), range_.keeps_least());
    bool all_done = true;
    for (std::size_t unit = 0; unit < known_.size(); ++unit) {
      std::map<double, Accuracy>& known = known_[unit];
      KnobSearch& search = searches[unit];
      while (search.next() && known.contains(*search.next())) {
        const Accuracy& figures = known[*search.next()];
        search.tried(target.met_by(figures), figures.density);
      }
      if (!search.next()) continue;
      values[unit] = *search.next();
      all_done = false;
    }
    if (all_done) return searches;
    const std::vector<Accuracy> figures = evaluate_(values);
    for (std::size_t unit = 0; unit < known_.size(); ++unit) known_[unit].emplace(values[unit], figures[unit]);
  }
}

}  // namespace salebench
