#include "harness/show/rank_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "core/json_text.h"
#include "harness/show/report.h"
#include "harness/support/errors.h"
#include "harness/support/text_table.h"
#include "results/places.h"

namespace salebench {
namespace {

constexpr double kNearMiss = 0.05;  // of the target

const char* kind_text(RankRow::Kind kind) {
  return kind == RankRow::Kind::rival ? "rival" : kind == RankRow::Kind::attention_only ? "attention only" : "oracle";
}

TextRow header(const RankTarget& target) {
  return {"#",        "method",   "met",
          "speedup ", "95 %",     "if met",
          "density",  "recall",   target.each_head ? "worst head" : "error",
          "select",   "missed by"};
}

TextRow text_row(const RankRow& row, int place) {
  return {place > 0 ? std::to_string(place) : "-",
          row.method,
          fmt::format("{}/{}", row.reached, row.problems),
          fmt::format("{}{:.2f}{}", row.interpolated > 0 ? "~" : "", row.speedup, row.doubtful > 0 ? "?" : " "),
          std::isnan(row.lo) ? "-" : fmt::format("{:.2f}..{:.2f}", row.lo, row.hi),
          number_text(row.speedup_reached, "{:.2f}"),
          number_text(row.density, "{:.4f}"),
          number_text(row.recall, "{:.4f}"),
          number_text(row.error, "{:.3g}"),
          number_text(row.select_share, "{:.0f} %", 100),
          number_text(row.missed_by, "{:.3g}")};
}

/// The rows of one part and setup.
std::string part_text(const std::vector<RankRow>& rows, const RankOptions& options, bool markdown, int width) {
  std::string text;
  for (const RankRow::Kind kind : {RankRow::Kind::rival, RankRow::Kind::attention_only, RankRow::Kind::oracle}) {
    std::vector<TextRow> table = {header(options.target)};
    int place = 0;
    for (const RankRow& row : rows)
      if (row.kind == kind)
        table.push_back(text_row(row, kind == RankRow::Kind::rival && row.reached > 0 ? ++place : 0));
    if (table.size() == 1) continue;
    if (kind != RankRow::Kind::rival)
      text += fmt::format("\nno rivals: {}\n\n", kind == RankRow::Kind::oracle
                                                     ? "oracles, which read the true attention first"
                                                     : "masks made elsewhere, so that times leave out the selection");
    std::vector<int> order = {0, 0, 0, 0, 0, 5, 3, 4, 2, 6, 1};  // as the header
    if (!markdown) drop_columns(table, order, std::size_t(width));
    text += aligned_table(table, {1}, markdown);
  }
  return text;
}

/// The length from which on each rival beats dense at all that were measured, from rows by length.
std::string crossovers(const std::vector<RankRow>& rows) {
  std::map<std::string, std::string> first;
  std::vector<std::string> order;
  for (const RankRow& row : rows) {
    if (row.kind != RankRow::Kind::rival || row.is_baseline || row.reached == 0) continue;
    const std::string name = row.setup.empty() ? row.method : fmt::format("{} ({})", row.method, row.setup);
    if (first.try_emplace(name).second) order.push_back(name);
    if (row.speedup <= 1)
      first[name].clear();
    else if (first[name].empty())
      first[name] = row.part;
  }
  std::string text;
  for (const std::string& name : order)
    text += fmt::format("{}{} {}", text.empty() ? "\nfaster than dense from: " : ", ", name,
                        first[name].empty() ? "never" : first[name]);
  return text.empty() ? text : text + "\n";
}

std::string remarks(const std::vector<CellRecord>& records, const std::vector<RankRow>& rows,
                    const RankOptions& options) {
  std::string text = fmt::format("\nmet: {}, by the fastest of the settings that do\n", target_text(options.target));
  for (const std::string& note : rank_notes(records)) text += note + "\n";
  const auto near = std::ranges::count_if(rows, [&](const RankRow& row) {
    RankTarget wider = options.target;
    wider.slack += kNearMiss;
    return !std::isnan(row.missed_by) && wider.reached(row.missed_by);
  });
  if (near > 0)
    text +=
        fmt::format("{} row{} missed by less than {:g} % of the target: --slack {:g} counts {} in\n", near,
                    near == 1 ? "" : "s", 100 * kNearMiss, options.target.slack + kNearMiss, near == 1 ? "it" : "them");
  if (std::ranges::any_of(rows, [](const RankRow& row) { return row.interpolated > 0; }))
    text += "~: with figures between two settings, not measured\n";
  if (std::ranges::any_of(rows, [](const RankRow& row) { return row.doubtful > 0; }))
    text += "?: at some problem the time is in doubt; --strict counts it as a miss\n";
  return text;
}

nlohmann::json json_row(const RankRow& row) {
  return {{"setup", row.setup},
          {"part", row.part},
          {"method", row.method},
          {"kind", kind_text(row.kind)},
          {"is_baseline", row.is_baseline},
          {"problems", row.problems},
          {"reached", row.reached},
          {"interpolated", row.interpolated},
          {"doubtful", row.doubtful},
          {"speedup", row.speedup},
          {"speedup_lo", row.lo},
          {"speedup_hi", row.hi},
          {"speedup_reached", row.speedup_reached},
          {"density", row.density},
          {"recall", row.recall},
          {"error", row.error},
          {"select_share", row.select_share},
          {"missed_by", row.missed_by}};
}

std::string csv(const std::vector<RankRow>& rows) {
  constexpr std::array kColumns = {"setup",      "part",         "method",          "kind",     "is_baseline",
                                   "problems",   "reached",      "interpolated",    "doubtful", "speedup",
                                   "speedup_lo", "speedup_hi",   "speedup_reached", "density",  "recall",
                                   "error",      "select_share", "missed_by"};
  std::string text = fmt::format("{}\n", fmt::join(kColumns, ","));
  for (const RankRow& row : rows) {
    const nlohmann::json json = json_row(row);
    std::vector<std::string> values;
    for (const char* const name : kColumns) {
      const nlohmann::json& value = json.at(name);
      values.push_back(value.is_number_float() ? fmt::format("{}", value.get<double>())
                       : value.is_string()     ? csv_text(value.get<std::string>())
                                               : value.dump());
    }
    text += fmt::format("{}\n", fmt::join(values, ","));
  }
  return text;
}

}  // namespace

std::string target_text(const RankTarget& target) {
  const std::string slack = target.slack > 0 ? fmt::format(" (+{:g} %)", 100 * target.slack) : "";
  if (target.metric == RankTarget::Metric::recall) return fmt::format("mean recall >= {:g}{}", target.value, slack);
  return fmt::format("relative L2 error of {} <= {:g}{}", target.each_head ? "every head" : "the output", target.value,
                     slack);
}

std::vector<std::string> rank_notes(const std::vector<CellRecord>& records) {
  std::set<std::string> baselines;
  int failed = 0, not_run = 0, untimed = 0, busy = 0, noisy = 0;
  std::set<std::string> timed_on;  // backends; of others nothing is ranked
  for (const CellRecord& r : records)
    if (has_usable_times(r)) timed_on.insert(r.backend);
  for (const CellRecord& r : records) {
    failed += r.status != "ok" && !was_left_out(r), not_run += was_left_out(r) && timed_on.contains(r.backend);
    untimed += r.status == "ok" && !has_usable_times(r);
    if (!has_usable_times(r) || std::isnan(r.speedup)) continue;
    baselines.insert(baseline_text(r));
    busy += r.busy != 0, noisy += r.converged == 0;
  }
  std::vector<std::string> notes = {"speedup: geometric mean over all problems, a miss as 1"};
  if (!baselines.empty()) notes[0] += fmt::format("; over {}, timed beside each cell", fmt::join(baselines, ", "));
  notes.emplace_back("missed by: the best figure at the problem where that is worst");
  const auto add = [&](int count, const char* what) {
    if (count > 0) notes.push_back(fmt::format("{} of {} cells {}", count, records.size(), what));
  };
  add(failed, "failed and count as misses");
  add(not_run, "are unsupported or not run yet, and count as misses");
  add(untimed, "have no usable times (--quick, --strict) and count as misses");
  add(busy, "were measured while other processes took the cores");
  add(noisy, "did not converge: their times may be off by more than measure.max_noise");
  return notes;
}

nlohmann::json rank_rows_json(const std::vector<RankRow>& rows) {
  nlohmann::json all = nlohmann::json::array();
  for (const RankRow& row : rows) all.push_back(json_row(row));
  return all;
}

std::string format_rank(const std::vector<CellRecord>& records, const RankOptions& options, const std::string& format,
                        int width) {
  const std::vector<RankRow> rows = rank(records, options);
  if (format == "csv") return csv(rows);
  if (format == "json") return json_text(rank_rows_json(rows), 1) + "\n";
  std::string text;
  for (std::size_t begin = 0, end = 0; begin < rows.size(); begin = end) {
    while (end < rows.size() && rows[end].setup == rows[begin].setup && rows[end].part == rows[begin].part) ++end;
    const std::string title =
        rows[begin].setup + (rows[begin].setup.empty() || rows[begin].part.empty() ? "" : ", ") + rows[begin].part;
    if (!text.empty()) text += "\n";
    if (!title.empty()) text += title + "\n\n";
    text += part_text({rows.begin() + std::ptrdiff_t(begin), rows.begin() + std::ptrdiff_t(end)}, options,
                      format == "md", width);
  }
  if (rows.empty()) text = "nothing to rank: no cell has usable times\n";
  if (options.by == RankBy::length) text += crossovers(rows);
  return text + remarks(records, rows, options);
}

RankTarget recalled_target(const std::vector<CellRecord>& records) {
  const std::vector<RankTarget> targets = calibrated_targets(records);
  if (targets.size() == 1) return targets.front();
  std::vector<std::string> texts;
  for (const RankTarget& target : targets) texts.push_back(target_text(target));
  throw UsageError(
      targets.empty()
          ? "there is no target: name one, --at-error 0.05 or --at-recall 0.95"
          : fmt::format("the run was calibrated for several targets: {}; name one by --at-error or --at-recall",
                        fmt::join(texts, ", ")));
}

}  // namespace salebench
