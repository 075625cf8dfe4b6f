#include "results/compare.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "results/places.h"
#include "results/statistics.h"

namespace salebench {
namespace {

constexpr double kRecallLost = 0.001, kErrorGrown = 0.01;

/// What defines a cell, but for the machine.
std::string key_of(const CellRecord& r) {
  return fmt::format("{}\n{}\n{}\n{}\n{}\n{}\n{}", fmt::join(place_of(r).problem, "\n"), r.repeat, r.backend, r.threads,
                     r.cache, r.method, r.params);
}

/// The rounds of one cell.
struct Rounds {
  CellRecord record;
  std::vector<double> seconds, relative, baseline;
  int busy = 0;
};

std::vector<std::pair<std::string, Rounds>> rounds_of(const std::vector<CellRecord>& records) {
  std::map<std::string, std::size_t> numbers;
  std::vector<std::pair<std::string, Rounds>> all;
  for (const CellRecord& r : records) {
    const std::string key = key_of(r);
    const auto [at, fresh] = numbers.try_emplace(key, all.size());
    if (fresh) all.push_back({key, {r, {}, {}, {}, 0}});
    Rounds& rounds = all[at->second].second;
    if (rounds.record.status != "ok" && r.status == "ok") rounds.record = r;
    if (!has_usable_times(r) || std::isnan(r.total_s)) continue;
    if (r.busy != 0) {
      ++rounds.busy;
      continue;
    }
    rounds.seconds.push_back(r.total_s);
    if (std::isnan(r.dense_s)) continue;
    rounds.relative.push_back(r.total_s / r.dense_s), rounds.baseline.push_back(r.dense_s);
  }
  for (auto& [key, rounds] : all)
    if (!rounds.seconds.empty()) {
      rounds.record.total_s = median_of(rounds.seconds);
      if (!rounds.baseline.empty()) rounds.record.dense_s = median_of(rounds.baseline);
    }
  return all;
}

bool is_worse(const CellRecord& base, const CellRecord& fresh) {
  return fresh.recall_mean < base.recall_mean - kRecallLost || fresh.rel_l2 > base.rel_l2 * (1 + kErrorGrown) + 1e-6;
}

class Comparer {
 public:
  explicit Comparer(const CompareOptions& options) : options_(options) {}

  Comparison operator()(const std::vector<CellRecord>& base, const std::vector<CellRecord>& fresh) {
    const auto before = rounds_of(base), after = rounds_of(fresh);
    std::map<std::string, const Rounds*> by_key;
    for (const auto& [key, rounds] : after) by_key[key] = &rounds;
    std::vector<double> baselines;
    for (const auto& [key, rounds] : before) {
      const auto found = by_key.find(key);
      if (found == by_key.end()) {
        ++result_.only_base;
        continue;
      }
      add(rounds, *found->second);
      if (!rounds.baseline.empty() && !found->second->baseline.empty())
        baselines.push_back(median_of(found->second->baseline) / median_of(rounds.baseline));
    }
    result_.only_fresh = int(after.size() - result_.cells.size());
    if (!baselines.empty()) result_.baseline = geometric_mean(baselines);
    judge(result_.cells);
    add_methods();
    judge(result_.methods);
    return std::move(result_);
  }

 private:
  void add(const Rounds& before, const Rounds& after) {
    ComparedCell cell;
    cell.base = before.record, cell.fresh = after.record;
    cell.base_rounds = int(before.seconds.size()), cell.fresh_rounds = int(after.seconds.size());
    result_.busy += before.busy + after.busy;
    cell.failed = cell.base.status == "ok" && cell.fresh.status != "ok";
    cell.worse = cell.base.status == "ok" && cell.fresh.status == "ok" && is_worse(cell.base, cell.fresh);
    if (!before.seconds.empty() && !after.seconds.empty())
      cell.ratio = median_of(after.seconds) / median_of(before.seconds);
    if (!before.relative.empty() && !after.relative.empty())
      cell.relative = median_of(after.relative) / median_of(before.relative);
    const int fewest = int(std::min(before.relative.size(), after.relative.size()));
    if (fewest >= options_.processes && cell.base.role != "baseline") {
      const BeforeAndAfter both = {before.relative, after.relative};
      const Interval interval = ratio_interval({both});
      cell.lo = interval.lo, cell.hi = interval.hi, cell.p = mann_whitney(both.before, both.after);
      of_method_[cell.base.method].push_back({both, cell.ratio});
    }
    result_.cells.push_back(std::move(cell));
  }

  void add_methods() {
    for (const auto& [name, cells] : of_method_) {
      ComparedMethod method;
      method.method = name, method.cells = int(cells.size());
      std::vector<BeforeAndAfter> rounds;
      std::vector<double> ratios, relatives;
      for (const auto& [both, ratio] : cells) {
        rounds.push_back(both), ratios.push_back(ratio);
        relatives.push_back(median_of(both.after) / median_of(both.before));
      }
      method.ratio = geometric_mean(ratios), method.relative = geometric_mean(relatives);
      const Interval interval = ratio_interval(rounds);
      method.lo = interval.lo, method.hi = interval.hi;
      const double by = method.relative > 1 ? 1 / (1 + options_.floor) : 1 + options_.floor;
      for (BeforeAndAfter& cell : rounds) {
        for (double& after : cell.after) after *= by;
        if (method.relative < 1) std::swap(cell.before, cell.after);
      }
      method.p = std::min(1.0, 2 * shuffled(rounds));  // either way
      result_.methods.push_back(method);
    }
  }

  /// Cells and methods are a family each, with half of the chance to err.
  template <class Change>
  void judge(std::vector<Change>& changes) const {
    std::vector<double> p;
    for (const Change& change : changes)
      if (!std::isnan(change.p)) p.push_back(change.p);
    const std::vector<double> adjusted = holm(p);
    auto next = adjusted.begin();
    for (Change& change : changes) {
      if (std::isnan(change.p)) continue;
      change.adjusted = *next++;
      const bool sure = change.adjusted <= options_.error / 2;
      const double beyond = 1 + options_.floor, by_itself = 1 + options_.floor / 2;
      change.verdict = !sure                                                                           ? Verdict::same
                       : change.relative > beyond && change.lo > 1 && change.ratio > by_itself         ? Verdict::slower
                       : change.relative < 1 / beyond && change.hi < 1 && change.ratio < 1 / by_itself ? Verdict::faster
                                                                                                       : Verdict::same;
    }
  }

  const CompareOptions options_;
  Comparison result_;
  std::map<std::string, std::vector<std::pair<BeforeAndAfter, double>>> of_method_;
};

}  // namespace

Comparison compare(const std::vector<CellRecord>& base, const std::vector<CellRecord>& fresh,
                   const CompareOptions& options) {
  return Comparer(options)(base, fresh);
}

std::string other_hardware(const std::vector<CellRecord>& base, const std::vector<CellRecord>& fresh) {
  std::string text;
  const auto check = [&](const char* name, auto member) {
    const auto values = [&](const std::vector<CellRecord>& records) {
      std::set<std::string> all;
      for (const CellRecord& r : records)
        if (has_usable_times(r) && !(r.*member).empty()) all.insert(r.*member);
      return all;
    };
    const auto a = values(base), b = values(fresh);
    if (a != b && !a.empty() && !b.empty())
      text +=
          fmt::format("{}{}: {}, not {}", text.empty() ? "" : "; ", name, fmt::join(b, " and "), fmt::join(a, " and "));
  };
  check("host", &CellRecord::host), check("simd", &CellRecord::simd), check("device", &CellRecord::device);
  return text;
}

}  // namespace salebench
