#include "harness/show/report_table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <sstream>

#include "harness/show/report_columns.h"
#include "harness/support/text_table.h"

namespace salebench {
namespace {

constexpr std::size_t kStatusWidth = 16;  // of a status that is cut: enough to tell what kind it is

std::string status_text(const CellRecord& r, int rounds, bool notes_differ, bool nodes_differ) {
  std::string status = r.status;
  if (!r.reason.empty()) status += ": " + r.reason;
  if (r.status == "ok" && !r.timing_usable) status += " (quick: times unusable)";
  if (r.busy) status += " (busy machine: times not usable)";
  if (notes_differ && !r.note.empty()) status += fmt::format(" [{}]", r.note);
  if (nodes_differ && !r.node.empty()) status += " @" + r.node;
  if (rounds > 1) status += fmt::format(" (medians of {} rounds)", rounds);
  if (r.status == "ok" && r.timing_usable && !r.converged) status += fmt::format(" (noisy, ±{:.0f}%)", 100 * r.noise);
  return status;
}

std::vector<ReportLine> lines_of(const std::vector<CellRecord>& records, const std::vector<TimedSetting>& settings) {
  const auto places = place_labels(records), labels = settings_labels(records);
  const auto differ = [&](auto member) {
    return std::ranges::any_of(records, [&](const CellRecord& r) { return r.*member != records[0].*member; });
  };
  const bool notes_differ = differ(&CellRecord::note), nodes_differ = differ(&CellRecord::node);
  std::vector<ReportLine> lines;
  for (const TimedSetting& s : settings) {
    lines.push_back({s.record, s.rounds, places[s.first], labels[s.first],
                     status_text(s.record, s.rounds, notes_differ, nodes_differ)});
    const bool one_of_several = s.record.round > 0 && !has_usable_times(s.record);
    if (one_of_several)
      lines.back().settings += fmt::format("{}round={}", labels[s.first].empty() ? "" : " ", s.record.round);
  }
  std::ranges::stable_sort(
      lines, {}, [](const ReportLine& line) { return std::pair(line.place, line.record.problem.shape.kv_len); });
  return lines;
}

/// The best first; cells without a value last.
void sort_lines(std::vector<ReportLine>& lines, const std::string& by) {
  const ReportColumn& column = report_column(by);
  if (!column.value) {
    std::ranges::stable_sort(lines, {}, column.text);
    return;
  }
  std::ranges::stable_sort(lines, {}, [&](const ReportLine& line) {
    const double value = column.value(line);
    return std::pair(std::isnan(value), value);
  });
}

/// Takes out cells that did not run, and says of them, and why, in a line for each reason.
std::string sum_up_not_run(std::vector<ReportLine>& lines) {
  std::map<std::pair<std::string, std::string>, std::pair<std::size_t, std::set<std::string>>> sums;
  std::erase_if(lines, [&](const ReportLine& line) {
    const CellRecord& r = line.record;
    if (!was_left_out(r)) return false;
    auto& [count, methods] = sums[{r.status, r.reason}];
    ++count, methods.insert(display_name(r));
    return true;
  });
  std::string text;
  for (const auto& [why, cells] : sums)
    text += fmt::format("\n{} cell{} of {} {}: {}\n", cells.first, cells.first == 1 ? "" : "s",
                        fmt::join(cells.second, ", "), why.first, why.second);
  return text;
}

/// Each line of a text cut to a width; 0 is no limit.
std::string cut_lines(const std::string& text, std::size_t width) {
  std::istringstream lines(text);
  std::string cut;
  for (std::string line; std::getline(lines, line);) cut += cut_to_width(line, width) + "\n";
  return cut;
}

/// The lines as a table that fits the width, with what is left out, the status cut first.
std::string table_of(const std::vector<ReportLine>& lines, const ReportOptions& options) {
  const bool markdown = options.format == "md";
  std::vector<ReportColumn> columns;
  for (const std::string& name : options.columns) columns.push_back(report_column(name));
  if (columns.empty()) columns = usual_columns();
  std::vector<TextRow> rows(1);
  for (const ReportColumn& column : columns) rows[0].push_back(column.name == "speedup" ? "speedup " : column.name);
  for (const ReportLine& line : lines) {
    rows.emplace_back();
    for (const ReportColumn& column : columns) rows.back().push_back(column.text(line));
  }
  std::string note;
  const std::size_t width = markdown ? 0 : std::size_t(options.width);
  if (width > 0 && columns.back().name == "status") {
    std::vector<int> order;
    for (const ReportColumn& column : columns) order.push_back(column.drops);
    std::vector<std::string> statuses;
    for (TextRow& row : rows) statuses.push_back(row.back()), row.back() = cut_to_width(row.back(), kStatusWidth);
    const auto dropped = drop_columns(rows, order, width);
    if (!dropped.empty())
      note = fmt::format("\nleft out, as the terminal is {} wide: {} (--columns chooses)\n", width,
                         fmt::join(dropped, ", "));
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i].back() = statuses[i];
  }
  std::set<std::size_t> left;
  for (std::size_t i = 0; i < rows[0].size(); ++i) {
    const auto column =
        std::ranges::find_if(columns, [&](const ReportColumn& c) { return rows[0][i].starts_with(c.name); });
    if (column != columns.end() && column->left) left.insert(i);
  }
  return cut_lines(aligned_table(rows, left, markdown), width) + note;
}

}  // namespace

ReportTable report_table(const std::vector<CellRecord>& records, const std::vector<TimedSetting>& settings,
                         const ReportOptions& options) {
  std::vector<ReportLine> lines = lines_of(records, settings);
  if (options.at_recall <= 0) mark_front(lines);
  const std::string not_run = options.all ? "" : sum_up_not_run(lines);
  if (!options.sort.empty()) sort_lines(lines, options.sort);
  return {table_of(lines, options) + not_run, std::ranges::any_of(lines, &ReportLine::on_front)};
}

}  // namespace salebench
