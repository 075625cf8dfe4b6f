#include "harness/calibrate/calibrate_group.h"

#include <algorithm>

#include "core/stats.h"
#include "harness/plan/calibrated_knob.h"
#include "harness/support/interrupts.h"

namespace salebench {
namespace {

/// A setting on the problems of a group.
class GroupScorer {
 public:
  GroupScorer(const MethodSetting& setting, const CalibrationGroup& group, const CalibrateConfig& config,
              const std::function<void(int)>& evaluated)
      : group_(group), per_head_(config.scope == "head"), evaluated_(evaluated) {
    for (const ScoredProblem& problem : group.problems) scorers_.emplace_back(setting, problem, config.sweep.seed);
  }

  int units() const { return per_head_ ? group_.problems.front().view.shape.q_heads : 1; }

  /// Scores of the problems, in order; those that are not fitted to are left out unless `everything` is wanted.
  std::vector<Score> score(std::span<const double> values, bool everything) {
    std::vector<Score> scores;
    for (std::size_t i = 0; i < scorers_.size(); ++i) {
      if (!everything && !group_.problems[i].has_fit) continue;
      if (interrupted) throw Stopped("the calibration was stopped");
      std::vector<double> of_head(values.begin(), values.end());
      if (!per_head_ && !values.empty()) of_head.assign(std::size_t(group_.problems[i].view.shape.q_heads), values[0]);
      scores.push_back(scorers_[i].score(of_head, everything));
    }
    ++evaluations_;
    if (evaluated_) evaluated_(evaluations_);
    return scores;
  }

  /// Of each unit: the worst figures over the problems fitted to, and their mean density.
  std::vector<Accuracy> figures(const std::vector<Score>& scores) const {
    std::vector<Accuracy> worst(static_cast<std::size_t>(units()));
    const double fitted = double(std::ranges::count(group_.problems, true, &ScoredProblem::has_fit));
    for (std::size_t unit = 0; unit < worst.size(); ++unit) {
      worst[unit].density = 0;
      for (const Score& score : scores) {
        if (score.fit.heads.empty()) continue;
        const Accuracy& a = per_head_ ? score.fit.heads[unit] : score.fit.overall;
        worst[unit].density += a.density / fitted;
        for (const Figure& f : ::salebench::figures())
          if (f.target) worst[unit].*f.member = worse(f, worst[unit].*f.member, a.*f.member);
      }
    }
    return worst;
  }

  std::vector<double> select_s() const {
    std::vector<double> medians;
    for (const Scorer& scorer : scorers_) medians.push_back(median(scorer.select_times()));
    return medians;
  }

 private:
  const CalibrationGroup& group_;
  bool per_head_;
  const std::function<void(int)>& evaluated_;
  int evaluations_ = 0;
  std::vector<Scorer> scorers_;
};

/// A method without a knob: one evaluation serves all targets.
void score_fixed(GroupScorer& scorer, std::vector<GroupOutcome>& outcomes) {
  const std::vector<Score> scores = scorer.score({}, true);
  for (GroupOutcome& outcome : outcomes) {
    outcome.units.assign(std::size_t(scorer.units()), {kNoValue, "fixed", 1});
    outcome.scores = scores;
  }
}

void search_values(GroupScorer& scorer, const KnobRange& range, const CalibrateConfig& config,
                   std::vector<GroupOutcome>& outcomes) {
  check_search(range, config.search);
  UnitSearches searches(range, config.search, scorer.units(),
                        [&](std::span<const double> values) { return scorer.figures(scorer.score(values, false)); });
  for (GroupOutcome& outcome : outcomes) {
    std::vector<double> values;
    for (const KnobSearch& search : searches.run(outcome.target)) {
      outcome.units.push_back({search.value(), search.reached() ? "ok" : "unreachable", search.evaluations()});
      values.push_back(search.value());
    }
    outcome.scores = scorer.score(values, true);
    const std::vector<Accuracy> last = scorer.figures(outcome.scores);
    for (std::size_t unit = 0; unit < last.size(); ++unit)
      if (outcome.units[unit].status == "ok" && !outcome.target.met_by(last[unit]))
        outcome.units[unit].status = "not_reproduced";
  }
}

void fail(std::vector<GroupOutcome>& outcomes, const std::string& failure, const std::string& reason) {
  for (GroupOutcome& outcome : outcomes) outcome = {outcome.target, failure, reason, {}, {}, {}};
}

}  // namespace

std::vector<GroupOutcome> calibrate_group(const MethodSetting& setting, const CalibrationGroup& group,
                                          const CalibrateConfig& config, const std::function<void(int)>& evaluated) {
  std::vector<GroupOutcome> outcomes;
  for (const Target& target : config.targets) outcomes.push_back({target, "", "", {}, {}, {}});
  GroupScorer scorer(setting, group, config, evaluated);
  try {
    const auto method = make_method(setting.method, setting.values);
    const Params params = method->all_params();
    if (const Param* knob = knob_param(params))
      search_values(scorer, range_of(*knob), config, outcomes);
    else
      score_fixed(scorer, outcomes);
    for (GroupOutcome& outcome : outcomes) outcome.select_s = scorer.select_s();
  } catch (const Stopped&) {
    throw;
  } catch (const Unsupported& why) {
    fail(outcomes, "unsupported", why.what());
  } catch (const std::bad_alloc&) {
    fail(outcomes, "error", "out of host memory");
  } catch (const std::exception& error) {
    fail(outcomes, "error", error.what());
  } catch (...) {
    fail(outcomes, "error", "threw something that is not a std::exception");
  }
  return outcomes;
}

}  // namespace salebench
