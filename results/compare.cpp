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

/// What defines a cell, but for the machine. Of what older files don't say nothing counts: values go by the path then.
class Keys {
 public:
  Keys(const std::vector<CellRecord>& base, const std::vector<CellRecord>& fresh)
      : fingerprints_(all_have(base, fresh, &CellRecord::fingerprint)),
        caches_(all_have(base, fresh, &CellRecord::cache)) {}

  std::string of(const CellRecord& r) const {
    return fmt::format("{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}", fingerprints_ ? r.fingerprint : r.dataset, r.problem.id,
                       r.problem.shape.kv_len, r.repeat, r.backend, r.threads, caches_ ? r.cache : "", r.method,
                       r.params);
  }

 private:
  template <class Member>
  static bool all_have(const std::vector<CellRecord>& base, const std::vector<CellRecord>& fresh, Member member) {
    const auto has = [&](const CellRecord& r) { return !(r.*member).empty(); };
    return std::ranges::all_of(base, has) && std::ranges::all_of(fresh, has);
  }

  bool fingerprints_, caches_;
};

/// The least two-sided p of a Mann-Whitney test of so many rounds.
double least_p(std::size_t n, std::size_t m) {
  return 2 * std::exp(std::lgamma(double(n) + 1) + std::lgamma(double(m) + 1) - std::lgamma(double(n + m) + 1));
}

/// The rounds of one cell.
struct Rounds {
  CellRecord record;
  std::vector<CellRecord> all;
  std::vector<double> seconds, relative, baseline;
  int busy = 0;
};

std::vector<std::pair<std::string, Rounds>> rounds_of(const std::vector<CellRecord>& records, const Keys& keys) {
  std::map<std::string, std::size_t> numbers;
  std::vector<std::pair<std::string, Rounds>> all;
  for (const CellRecord& r : records) {
    const std::string key = keys.of(r);
    const auto [at, fresh] = numbers.try_emplace(key, all.size());
    if (fresh) all.push_back({key, {r, {}, {}, {}, {}, 0}});
    Rounds& rounds = all[at->second].second;
    if (rounds.record.status != "ok" && r.status == "ok") rounds.record = r;
    rounds.all.push_back(r);
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
      rounds.record.total_s = median(rounds.seconds);
      if (!rounds.baseline.empty()) rounds.record.dense_s = median(rounds.baseline);
    }
  return all;
}

/// Whether an error grew, or is none any more.
bool has_grown(double base, double fresh) {
  return !std::isnan(base) && !(fresh <= base * (1 + kErrorGrown) + 1e-6);
}

bool is_worse(const CellRecord& base, const CellRecord& fresh) {
  return (!std::isnan(base.recall_mean) && !(fresh.recall_mean >= base.recall_mean - kRecallLost)) ||
         has_grown(base.rel_l2, fresh.rel_l2) || has_grown(base.rel_l2_worst, fresh.rel_l2_worst);
}

class Comparer {
 public:
  explicit Comparer(const CompareOptions& options) : options_(options) {}

  Comparison operator()(const std::vector<CellRecord>& base, const std::vector<CellRecord>& fresh) {
    const Keys keys(base, fresh);
    const auto before = rounds_of(base, keys), after = rounds_of(fresh, keys);
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
        baselines.push_back(median(found->second->baseline) / median(rounds.baseline));
    }
    result_.only_fresh = int(after.size() - result_.cells.size());
    if (!baselines.empty()) result_.baseline = geometric_mean(baselines);
    add_methods();
    for (ComparedCell& cell : result_.cells)
      for (const ComparedMethod& method : result_.methods)
        if (method.method == display_name(cell.fresh)) cell.others = method.others;
    judge(result_.cells);
    judge(result_.methods);
    return std::move(result_);
  }

 private:
  void add(const Rounds& before, const Rounds& after) {
    ComparedCell cell;
    cell.base = before.record, cell.fresh = after.record;
    cell.base_rounds = int(before.seconds.size()), cell.fresh_rounds = int(after.seconds.size());
    result_.busy += before.busy + after.busy;
    add_outcome(after, cell);
    if (!before.seconds.empty() && !after.seconds.empty()) cell.ratio = median(after.seconds) / median(before.seconds);
    if (!before.relative.empty() && !after.relative.empty())
      cell.relative = median(after.relative) / median(before.relative);
    const int fewest = int(std::min(before.relative.size(), after.relative.size()));
    if (fewest >= options_.processes && cell.base.role != "baseline") {
      const BeforeAndAfter both = {before.relative, after.relative};
      const Interval interval = ratio_interval({both});
      cell.lo = interval.low, cell.hi = interval.high, cell.p = mann_whitney(both.before, both.after);
      cell.least_p = least_p(both.before.size(), both.after.size());
      of_method_[display_name(cell.fresh)].push_back({both, cell.ratio});
    }
    result_.cells.push_back(std::move(cell));
  }

  /// Of a cell that was ok: the first of its rounds now that failed, or else has a worse result.
  static void add_outcome(const Rounds& after, ComparedCell& cell) {
    if (cell.base.status != "ok") return;
    const auto failed = std::ranges::find_if(after.all, [](const CellRecord& r) { return r.status != "ok"; });
    const auto worse = std::ranges::find_if(after.all, [&](const CellRecord& r) { return is_worse(cell.base, r); });
    cell.failed = failed != after.all.end(), cell.worse = !cell.failed && worse != after.all.end();
    if (!cell.failed && !cell.worse) return;
    const double seconds = cell.fresh.total_s;
    cell.fresh = cell.failed ? *failed : *worse, cell.fresh.total_s = seconds;
  }

  /// How the times of all methods but one changed; NaN if there is no other.
  double ratio_of_others(const std::string& name) const {
    std::vector<double> ratios;
    for (const auto& [other, cells] : of_method_)
      if (other != name)
        for (const auto& [both, ratio] : cells) ratios.push_back(ratio);
    return ratios.empty() ? kNoValue : geometric_mean(ratios);
  }

  void add_methods() {
    for (const auto& [name, cells] : of_method_) {
      ComparedMethod method;
      method.method = name, method.cells = int(cells.size()), method.others = ratio_of_others(name);
      std::vector<BeforeAndAfter> rounds;
      std::vector<double> ratios, relatives;
      for (const auto& [both, ratio] : cells) {
        rounds.push_back(both), ratios.push_back(ratio);
        relatives.push_back(median(both.after) / median(both.before));
      }
      method.ratio = geometric_mean(ratios), method.relative = geometric_mean(relatives);
      const Interval interval = ratio_interval(rounds);
      method.lo = interval.low, method.hi = interval.high;
      const double by = method.relative > 1 ? 1 / (1 + options_.floor) : 1 + options_.floor;
      for (BeforeAndAfter& cell : rounds) {
        for (double& after : cell.after) after *= by;
        if (method.relative < 1) std::swap(cell.before, cell.after);
      }
      method.p = std::min(1.0, 2 * shuffled(rounds));  // either way
      method.least_p = 1;
      for (const BeforeAndAfter& cell : rounds) method.least_p *= least_p(cell.before.size(), cell.after.size());
      method.least_p = 2 * std::max(method.least_p, 1.0 / (kShuffles + 1));
      result_.methods.push_back(method);
    }
  }

  /// Of a change that is no chance.
  Verdict verdict_of(const TimeChange& change) const {
    const double beyond = 1 + options_.floor, half = 1 + options_.floor / 2;
    const double over_others = std::isnan(change.others) ? change.ratio : change.ratio / change.others;
    if (change.relative > beyond && change.lo > 1 && std::max(change.ratio, over_others) > half) return Verdict::slower;
    if (change.relative < 1 / beyond && change.hi < 1 && std::min(change.ratio, over_others) < 1 / half)
      return Verdict::faster;
    return Verdict::same;
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
      if (change.least_p * double(p.size()) > options_.error / 2) continue;  // nothing could be sure
      change.verdict = Verdict::same;
      if (sure) change.verdict = verdict_of(change);
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
