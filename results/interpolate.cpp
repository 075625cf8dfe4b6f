#include "results/interpolate.h"

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

namespace salebench {
namespace {

/// Distance from the target in the log domain, the larger the worse; NaN where there is none.
double distance(const RankTarget& target, double figure) {
  const bool recall = target.metric == RankTarget::Metric::recall;
  return std::log(recall ? 1 - figure : figure) - std::log(recall ? 1 - target.value : target.value);
}

TimedSetting between(const RankTarget& target, const TimedSetting& reached, const TimedSetting& missed, double share) {
  const auto mixed = [&](double a, double b) { return std::exp((1 - share) * std::log(a) + share * std::log(b)); };
  TimedSetting made = reached;
  CellRecord& r = made.record;
  for (const auto member : {&CellRecord::total_s, &CellRecord::speedup, &CellRecord::select_s})
    r.*member = mixed(r.*member, missed.record.*member);
  r.density = mixed(r.density, missed.record.density);
  if (target.metric == RankTarget::Metric::recall)
    r.recall_mean = target.value, r.rel_l2 = r.rel_l2_worst = kNoValue;
  else
    (target.each_head ? r.rel_l2_worst : r.rel_l2) = target.value, r.recall_mean = kNoValue;
  r.speedup_lo = r.speedup_hi = kNoValue;
  made.rounds = 1, made.speedups = {r.speedup};
  return made;
}

}  // namespace

void add_between(const RankTarget& target, std::vector<TimedSetting>& settings) {
  std::map<std::string, std::map<double, const TimedSetting*>> lines;  // by the other parameters, then by the knob
  for (const TimedSetting& s : settings) {
    nlohmann::json params = nlohmann::json::parse(s.record.params, nullptr, false);
    if (!params.is_object() || !params.contains(s.record.knob)) continue;
    const nlohmann::json knob = params[s.record.knob];
    if (!knob.is_number()) continue;
    params.erase(s.record.knob);
    lines[params.dump()].emplace(knob.get<double>(), &s);
  }
  std::vector<TimedSetting> made;
  for (const auto& [rest, line] : lines)
    for (auto next = line.begin(), last = next++; next != line.end(); last = next++) {
      const auto reaches = [&](const TimedSetting* s) { return target.reached(target.figure(s->record)); };
      if (reaches(last->second) == reaches(next->second)) continue;
      const TimedSetting& good = reaches(last->second) ? *last->second : *next->second;
      const TimedSetting& bad = reaches(last->second) ? *next->second : *last->second;
      const double from = distance(target, target.figure(good.record)),
                   to = distance(target, target.figure(bad.record));
      if (std::isfinite(from) && std::isfinite(to) && from < 0 && to > 0)
        made.push_back(between(target, good, bad, -from / (to - from)));
    }
  settings.insert(settings.end(), made.begin(), made.end());
}

}  // namespace salebench
