#include "harness/show/compare_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/json_text.h"
#include "harness/show/rank_report.h"
#include "harness/support/text_table.h"
#include "results/places.h"

namespace salebench {
namespace {

std::string verdict_text(const TimeChange& change) {
  switch (change.verdict) {
    case Verdict::slower:
      return "slower";
    case Verdict::faster:
      return "faster";
    case Verdict::same:
      return "no change seen";
    case Verdict::too_few:
      break;
  }
  return "";
}

std::string interval_text(const TimeChange& change) {
  return std::isnan(change.lo) ? "-" : fmt::format("{:.3f}..{:.3f}", change.lo, change.hi);
}

std::string cell_text(const ComparedCell& cell, int processes) {
  std::string text = cell.failed ? fmt::format("{}: {}", cell.fresh.status, cell.fresh.reason) : verdict_text(cell);
  if (text.empty() && cell.base.status == "ok" && cell.base.role != "baseline")
    text = std::isnan(cell.p)
               ? fmt::format("{} and {} processes: {} needed", cell.base_rounds, cell.fresh_rounds, processes)
               : fmt::format("can't be told alone by {} and {} processes", cell.base_rounds, cell.fresh_rounds);
  if (cell.worse)
    text += fmt::format("{}worse result: recall {:.4f} to {:.4f}, error {:.3g} to {:.3g}", text.empty() ? "" : "; ",
                        cell.base.recall_mean, cell.fresh.recall_mean, cell.base.rel_l2, cell.fresh.rel_l2);
  return text;
}

bool has_changed(const ComparedCell& cell) {
  return cell.failed || cell.worse || cell.verdict == Verdict::slower || cell.verdict == Verdict::faster;
}

std::string methods_table(const Comparison& comparison, bool markdown) {
  std::vector<TextRow> rows = {{"method", "cells", "time", "over dense", "95 %", "p", "verdict"}};
  for (const ComparedMethod& m : comparison.methods)
    rows.push_back({m.method, std::to_string(m.cells), number_text(m.ratio, "{:.3f}"),
                    number_text(m.relative, "{:.3f}"), interval_text(m), number_text(m.adjusted, "{:.2g}"),
                    m.verdict == Verdict::too_few ? "too few processes" : verdict_text(m)});
  return rows.size() > 1 ? aligned_table(rows, {0, 6}, markdown) : "";
}

std::string cells_table(const Comparison& comparison, const CompareOptions& options, bool markdown, bool all_cells) {
  std::vector<CellRecord> records;
  for (const ComparedCell& cell : comparison.cells) records.push_back(cell.base);
  const auto places = place_labels(records), labels = settings_labels(records);
  std::vector<TextRow> rows = {
      {"problem", "len", "method", "settings", "base ms", "new ms", "time", "over dense", "95 %", "p", "verdict"}};
  for (std::size_t i = 0; i < records.size(); ++i) {
    const ComparedCell& c = comparison.cells[i];
    if (!all_cells && !has_changed(c)) continue;
    rows.push_back({places[i], std::to_string(c.base.problem.shape.kv_len), display_name(c.fresh), labels[i],
                    number_text(c.base.total_s, "{:.3g}", 1e3), number_text(c.fresh.total_s, "{:.3g}", 1e3),
                    number_text(c.ratio, "{:.3f}"), number_text(c.relative, "{:.3f}"), interval_text(c),
                    number_text(c.adjusted, "{:.2g}"), cell_text(c, options.processes)});
  }
  return rows.size() > 1 ? "\n" + aligned_table(rows, {0, 2, 3, 10}, markdown) : "";
}

/// Rounds a side by which one of so many cells can be told.
int rounds_for(std::size_t cells, double error) {
  int rounds = 4;
  for (double least = 2.0 / 70; least * double(cells) > error; ++rounds)
    least *= double((rounds + 1) * (rounds + 1)) / double((2 * rounds + 1) * (2 * rounds + 2));
  return rounds;
}

std::string summary(const Comparison& comparison, const CompareOptions& options) {
  const auto count = [&](const auto& is) { return std::ranges::count_if(comparison.cells, is); };
  const auto judged = [&](Verdict verdict) {
    return count([&](const ComparedCell& c) { return c.verdict == verdict && c.base.role != "baseline"; });
  };
  std::string text = fmt::format(
      "\n{} cells of both runs: {} slower, {} faster, {} without a change seen, {} failed now, {} with a worse "
      "result\n",
      comparison.cells.size(), judged(Verdict::slower), judged(Verdict::faster), judged(Verdict::same),
      count([](const ComparedCell& c) { return c.failed; }), count([](const ComparedCell& c) { return c.worse; }));
  const auto few = count([](const ComparedCell& c) { return std::isnan(c.p) && c.base.role != "baseline"; });
  if (few > 0)
    text += fmt::format("{} had fewer than {} processes with usable times on a side: no verdict (measure.rounds)\n",
                        few, options.processes);
  if (const auto more = judged(Verdict::too_few) - few; more > 0)
    text += fmt::format(
        "{} can't be told alone by so few processes among so many cells: see their methods, or set "
        "measure.rounds to {}\n",
        more, rounds_for(comparison.cells.size(), options.error / 2));
  if (comparison.busy > 0)
    text += fmt::format("{} rounds are left out: other processes took the cores\n", comparison.busy);
  if (comparison.only_base + comparison.only_fresh > 0)
    text +=
        fmt::format("{} cells are of the base alone, {} of the new run\n", comparison.only_base, comparison.only_fresh);
  if (!std::isnan(comparison.baseline))
    text += fmt::format(
        "the baseline, timed beside each cell, takes {:.3f} times as long: the machine, or dense attention\n",
        comparison.baseline);
  return text + fmt::format(
                    "time: new / base. Slower or faster: beyond {:g} % over the baseline, and half of that by itself "
                    "or over the other methods, p "
                    "<= {:g}\n",
                    100 * options.floor, options.error / 2);
}

void add_change(nlohmann::json& json, const TimeChange& change) {
  constexpr const char* kVerdicts[] = {"same", "faster", "slower", "too_few"};
  json.update({{"ratio", change.ratio},
               {"relative", change.relative},
               {"relative_lo", change.lo},
               {"relative_hi", change.hi},
               {"p", change.p},
               {"p_adjusted", change.adjusted},
               {"verdict", kVerdicts[int(change.verdict)]}});
}

std::string comparison_json(const Comparison& comparison) {
  nlohmann::json cells = nlohmann::json::array(), methods = nlohmann::json::array();
  for (const ComparedCell& c : comparison.cells) {
    cells.push_back({{"problem", c.base.problem.id},
                     {"kv_len", c.base.problem.shape.kv_len},
                     {"method", c.base.method},
                     {"settings", c.base.settings},
                     {"base_rounds", c.base_rounds},
                     {"new_rounds", c.fresh_rounds},
                     {"base_s", c.base.total_s},
                     {"new_s", c.fresh.total_s},
                     {"base_recall", c.base.recall_mean},
                     {"new_recall", c.fresh.recall_mean},
                     {"base_rel_l2", c.base.rel_l2},
                     {"new_rel_l2", c.fresh.rel_l2},
                     {"new_status", c.fresh.status},
                     {"failed", c.failed},
                     {"worse", c.worse}});
    add_change(cells.back(), c);
  }
  for (const ComparedMethod& m : comparison.methods) {
    methods.push_back({{"method", m.method}, {"cells", m.cells}});
    add_change(methods.back(), m);
  }
  return json_text({{"cells", cells},
                    {"methods", methods},
                    {"only_base", comparison.only_base},
                    {"only_new", comparison.only_fresh},
                    {"busy", comparison.busy},
                    {"baseline", comparison.baseline},
                    {"regressed", has_regressed(comparison)}},
                   1) +
         "\n";
}

}  // namespace

bool has_regressed(const Comparison& comparison) {
  return std::ranges::any_of(
             comparison.cells,
             [](const ComparedCell& c) { return c.failed || c.worse || c.verdict == Verdict::slower; }) ||
         std::ranges::any_of(comparison.methods, [](const ComparedMethod& m) { return m.verdict == Verdict::slower; });
}

std::string format_comparison(const Comparison& comparison, const CompareOptions& options, const std::string& format,
                              bool all_cells) {
  if (format == "json") return comparison_json(comparison);
  const bool markdown = format == "md";
  return methods_table(comparison, markdown) + cells_table(comparison, options, markdown, all_cells) +
         summary(comparison, options);
}

std::string format_method_ratios(const std::vector<MethodRatio>& ratios, const RankTarget& target,
                                 const std::string& first, const std::string& second, const std::string& format) {
  nlohmann::json json = nlohmann::json::array();
  std::string text;
  for (const MethodRatio& r : ratios) {
    json.push_back({{"setup", r.setup},
                    {"first", first},
                    {"second", second},
                    {"problems", r.problems},
                    {"both", r.both},
                    {"first_alone", r.first_alone},
                    {"second_alone", r.second_alone},
                    {"ratio", r.ratio},
                    {"ratio_lo", r.lo},
                    {"ratio_hi", r.hi}});
    if (!r.setup.empty()) text += r.setup + ": ";
    text += r.both == 0 ? fmt::format("there is no problem where both {} and {} meet", first, second)
                        : fmt::format("{} is {:.2f} ({:.2f}..{:.2f}) times as fast as {} at", first, r.ratio, r.lo,
                                      r.hi, second);
    text += fmt::format(" {}\nboth meet it at {} of {} problems, {} alone at {}, {} alone at {}\n", target_text(target),
                        r.both, r.problems, first, r.first_alone, second, r.second_alone);
  }
  if (ratios.empty()) text = "nothing to compare: no cell has usable times\n";
  return format == "json" ? json_text(json, 1) + "\n" : text;
}

}  // namespace salebench
