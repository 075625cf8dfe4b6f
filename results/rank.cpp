#include "results/rank.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>

#include "results/interpolate.h"
#include "results/places.h"
#include "results/statistics.h"

namespace salebench {
namespace {

using Kind = RankRow::Kind;

/// Whether a record may be of a setup: what a failed cell doesn't know is no difference.
bool may_be_of(const std::vector<std::string>& setup, const std::vector<std::string>& records) {
  for (std::size_t i = 0; i < setup.size(); ++i)
    if (setup[i] != records[i] && !records[i].empty()) return false;
  return true;
}

bool has_times(const TimedSetting& s) {
  return !std::isnan(s.record.speedup) && !std::isnan(s.record.total_s);
}

Kind kind_of(const CellRecord& r) {
  return r.role == "oracle" ? Kind::oracle : has_untimed_selection(r) ? Kind::attention_only : Kind::rival;
}

/// Of --by: a number to sort by, and its name.
using Part = std::pair<double, std::string>;

/// A setup's problems within a part of the run, and what was measured there.
struct Field {
  std::map<std::vector<std::string>, std::size_t> problems;  ///< to their numbers
  std::vector<std::pair<std::size_t, TimedSetting>> settings;
  std::vector<std::pair<std::size_t, const CellRecord*>> records;  ///< all of them, also those that failed

  std::size_t number_of(const CellRecord& r) {
    return problems.try_emplace(place_of(r).problem, problems.size()).first->second;
  }
};

class Ranking {
 public:
  Ranking(const std::vector<CellRecord>& records, const RankOptions& options)
      : records_(records), options_(options), datasets_(dataset_labels(records)) {}

  std::vector<RankRow> rows() {
    find_fields();
    std::vector<RankRow> all;
    for (auto& [key, field] : fields_) {
      std::map<std::pair<Kind, std::string>, RankRow> rows;
      std::set<std::string> baselines;
      for (const auto& [problem, record] : field.records) {
        rows[{kind_of(*record), display_name(*record)}];
        if (record->role == "baseline") baselines.insert(display_name(*record));
      }
      for (auto& [name, row] : rows) {
        row = row_of(field, name.first, name.second);
        row.setup = labels_[key.first], row.part = key.second.second, row.is_baseline = baselines.contains(row.method);
      }
      drop_empty(rows);
      std::vector<RankRow> sorted;
      for (auto& [name, row] : rows) sorted.push_back(std::move(row));
      std::ranges::stable_sort(sorted, [&](const RankRow& a, const RankRow& b) { return comes_before(a, b); });
      std::ranges::move(sorted, std::back_inserter(all));
    }
    return all;
  }

  std::vector<MethodRatio> ratios(const std::string& first, const std::string& second) {
    find_fields();
    std::vector<MethodRatio> all;
    for (const auto& [key, field] : fields_) {
      RankRow unused;
      const auto a = fastest(field, Kind::rival, first, unused), b = fastest(field, Kind::rival, second, unused);
      MethodRatio found;
      found.setup = labels_[key.first], found.problems = int(field.problems.size());
      std::vector<BeforeAndAfter> rounds;
      std::vector<double> ratios;
      for (std::size_t i = 0; i < a.size(); ++i) {
        found.first_alone += a[i] && !b[i], found.second_alone += b[i] && !a[i];
        if (!a[i] || !b[i]) continue;
        rounds.push_back({b[i]->speedups, a[i]->speedups});
        ratios.push_back(a[i]->record.speedup / b[i]->record.speedup);
      }
      found.both = int(ratios.size());
      if (!ratios.empty()) {
        const Interval interval = ratio_interval(rounds);
        found.ratio = geometric_mean(ratios), found.lo = interval.low, found.hi = interval.high;
      }
      all.push_back(found);
    }
    return all;
  }

 private:
  Part part_of(const CellRecord& r) const {
    switch (options_.by) {
      case RankBy::layer:
        return {double(r.problem.layer),
                r.problem.layer < 0 ? "layer unknown" : fmt::format("layer {}", r.problem.layer)};
      case RankBy::length:
        return {double(r.problem.shape.kv_len), std::to_string(r.problem.shape.kv_len)};
      case RankBy::dataset:
        return {0, datasets_.at(r.dataset)};
      case RankBy::run:
        break;
    }
    return {};
  }

  void find_fields() {
    const std::vector<TimedSetting> settings = timed_settings(records_);
    const std::vector<std::string> labels = setup_labels(records_);
    std::map<std::vector<std::string>, std::size_t> setups;  // in order of their first cells
    for (const TimedSetting& s : settings)
      if (has_times(s) && setups.try_emplace(place_of(s.record).setup, labels_.size()).second)
        labels_.push_back(labels[s.first]);
    for (const auto& [setup, number] : setups) {
      for (const CellRecord& r : records_)
        if (may_be_of(setup, place_of(r).setup)) {
          Field& field = fields_[{number, part_of(r)}];
          field.records.emplace_back(field.number_of(r), &r);
        }
      for (const TimedSetting& s : settings)
        if (place_of(s.record).setup == setup && has_times(s)) {
          Field& field = fields_[{number, part_of(s.record)}];
          field.settings.emplace_back(field.number_of(s.record), s);
        }
    }
  }

  /// A method whose cells failed before anyone knew where its mask is made has a row as the kind it turned out to be.
  static void drop_empty(std::map<std::pair<Kind, std::string>, RankRow>& rows) {
    std::erase_if(rows, [&](const auto& entry) {
      const auto& [name, row] = entry;
      return name.first == Kind::rival && row.reached == 0 && std::isnan(row.missed_by) &&
             rows.contains({Kind::attention_only, name.second});
    });
  }

  /// The fastest of a method's settings at each problem that reach the target.
  std::vector<std::optional<TimedSetting>> fastest(const Field& field, Kind kind, const std::string& method,
                                                   RankRow& row) const {
    std::vector<std::vector<TimedSetting>> measured(field.problems.size());
    for (const auto& [problem, s] : field.settings)
      if (kind_of(s.record) == kind && display_name(s.record) == method) measured[problem].push_back(s);
    std::vector<std::optional<TimedSetting>> best(measured.size());
    for (std::size_t i = 0; i < measured.size(); ++i) {
      const std::size_t own = measured[i].size();
      if (options_.interpolate) add_between(options_.target, measured[i]);
      std::size_t chosen = 0;
      for (std::size_t j = 0; j < measured[i].size(); ++j) {
        const TimedSetting& s = measured[i][j];
        if (!options_.target.reached(options_.target.figure(s.record))) continue;
        if (!best[i] || s.record.total_s < best[i]->record.total_s) best[i] = s, chosen = j;
      }
      row.interpolated += best[i] && chosen >= own;
    }
    return best;
  }

  RankRow row_of(const Field& field, Kind kind, const std::string& method) const {
    RankRow row;
    row.method = method, row.kind = kind, row.problems = int(field.problems.size());
    const auto best = fastest(field, kind, method, row);
    std::vector<std::vector<double>> rounds;
    std::vector<double> all, reached, densities, shares;
    for (const auto& setting : best) {
      rounds.push_back(setting ? setting->speedups : std::vector<double>{1.0});
      all.push_back(setting ? setting->record.speedup : 1.0);
      if (!setting) continue;
      const CellRecord& r = setting->record;
      ++row.reached;
      row.doubtful += is_in_doubt(r);
      reached.push_back(r.speedup), densities.push_back(r.density);
      if (!std::isnan(r.select_s)) shares.push_back(r.select_s / r.total_s);
      row.error = std::fmax(row.error, options_.target.each_head ? r.rel_l2_worst : r.rel_l2);
      row.recall = std::fmin(row.recall, r.recall_mean);
    }
    row.missed_by = furthest_miss(field, kind, method, best);
    if (reached.empty()) return row;
    row.speedup = geometric_mean(all), row.speedup_reached = geometric_mean(reached);
    row.density = mean(densities), row.select_share = mean(shares);
    const bool one = best.size() == 1 && rounds[0].size() == 1;
    const Interval interval =
        one ? Interval{best[0]->record.speedup_lo, best[0]->record.speedup_hi} : rank_interval(rounds);
    row.lo = interval.low, row.hi = interval.high;
    return row;
  }

  double furthest_miss(const Field& field, Kind kind, const std::string& method,
                       const std::vector<std::optional<TimedSetting>>& best) const {
    const RankTarget& target = options_.target;
    std::vector<double> closest(best.size(), kNoValue);
    for (const auto& [problem, r] : field.records) {
      const double figure = target.figure(*r);
      if (r->status != "ok" || display_name(*r) != method || kind_of(*r) != kind || std::isnan(figure)) continue;
      if (std::isnan(closest[problem]) || target.is_better(figure, closest[problem])) closest[problem] = figure;
    }
    double furthest = kNoValue;
    for (std::size_t i = 0; i < best.size(); ++i)
      if (!best[i] && !std::isnan(closest[i]) && !target.reached(closest[i]) &&
          (std::isnan(furthest) || target.is_better(furthest, closest[i])))
        furthest = closest[i];
    return furthest;
  }

  bool comes_before(const RankRow& a, const RankRow& b) const {
    if (a.kind != b.kind) return a.kind < b.kind;
    if ((a.reached > 0) != (b.reached > 0)) return a.reached > 0;
    if (a.reached > 0) return a.speedup > b.speedup;
    if (std::isnan(a.missed_by) || std::isnan(b.missed_by)) return !std::isnan(a.missed_by) && std::isnan(b.missed_by);
    return options_.target.is_better(a.missed_by, b.missed_by);
  }

  static double mean(const std::vector<double>& values) {
    double sum = 0;
    for (const double value : values) sum += value;
    return values.empty() ? kNoValue : sum / double(values.size());
  }

  const std::vector<CellRecord>& records_;
  const RankOptions& options_;
  const std::map<std::string, std::string> datasets_;
  std::vector<std::string> labels_;  // of setups
  std::map<std::pair<std::size_t, Part>, Field> fields_;
};

}  // namespace

double RankTarget::figure(const CellRecord& r) const {
  return metric == Metric::recall ? r.recall_mean : each_head ? r.rel_l2_worst : r.rel_l2;
}

bool RankTarget::reached(double figure) const {
  return metric == Metric::recall ? 1 - figure <= (1 - value) * (1 + slack) : figure <= value * (1 + slack);
}

std::vector<RankTarget> calibrated_targets(const std::vector<CellRecord>& records) {
  std::vector<RankTarget> targets;
  for (const CellRecord& r : records) {
    if (r.target_metric != "rel_l2" && r.target_metric != "recall") continue;
    RankTarget target;
    target.metric = r.target_metric == "recall" ? RankTarget::Metric::recall : RankTarget::Metric::error;
    target.value = r.target, target.each_head = r.target_metric == "rel_l2" && r.target_scope == "head";
    const auto same = [&](const RankTarget& t) {
      return t.metric == target.metric && t.value == target.value && t.each_head == target.each_head;
    };
    if (std::ranges::none_of(targets, same)) targets.push_back(target);
  }
  return targets;
}

std::vector<MethodRatio> method_ratios(const std::vector<CellRecord>& records, const RankOptions& options,
                                       const std::string& first, const std::string& second) {
  return records.empty() ? std::vector<MethodRatio>() : Ranking(records, options).ratios(first, second);
}

std::vector<RankRow> rank(const std::vector<CellRecord>& records, const RankOptions& options) {
  return records.empty() ? std::vector<RankRow>() : Ranking(records, options).rows();
}

}  // namespace salebench
