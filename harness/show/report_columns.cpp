#include "harness/show/report_columns.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "core/nearest.h"
#include "harness/support/errors.h"
#include "harness/support/text_table.h"

namespace salebench {
namespace {

using Line = const ReportLine&;

ReportColumn number_column(const std::string& name, int drops, const char* format, double CellRecord::*member,
                           bool larger_is_better) {
  return {name, false, drops, [=](Line line) { return number_text(line.record.*member, format); },
          [=](Line line) { return line.record.*member * (larger_is_better ? -1 : 1); }};
}

ReportColumn time_column(const std::string& name, int drops, double CellRecord::*member) {
  return {name, false, drops, [=](Line line) { return seconds_text(line.record.*member); },
          [=](Line line) { return line.record.*member; }};
}

std::vector<ReportColumn> make_usual() {
  using R = CellRecord;
  return {
      {"problem", true, 0, [](Line line) { return line.place; }, {}},
      {"len", false, 0, [](Line line) { return std::to_string(line.record.problem.shape.kv_len); },
       [](Line line) { return double(line.record.problem.shape.kv_len); }},
      {"method", true, 0, [](Line line) { return display_name(line.record); }, {}},
      {"settings", true, 0, [](Line line) { return line.settings; }, {}},
      number_column("density", 4, "{:.4f}", &R::density, false),
      number_column("recall", 0, "{:.4f}", &R::recall_mean, true),
      number_column("p05", 8, "{:.4f}", &R::recall_p05, true),
      number_column("rel_l2", 0, "{:.2e}", &R::rel_l2, false),
      number_column("worst", 7, "{:.2e}", &R::rel_l2_worst, false),
      time_column("select", 5, &R::select_s),
      time_column("index", 9, &R::index_s),
      time_column("attend", 6, &R::attend_s),
      time_column("total", 2, &R::total_s),
      {"speedup", false, 0,
       [](Line line) { return number_text(line.record.speedup, "{:.2f}") + (line.on_front ? "*" : " "); },
       [](Line line) { return -line.record.speedup; }},
      {"status", true, 0, [](Line line) { return line.status; }, {}},
  };
}

/// A column of /cells, as it is stored.
ReportColumn stored_column(const Column<CellRecord>& column) {
  const auto text = [&column](Line line) {
    std::string text;
    column.visit(line.record, [&](const auto& value) {
      if constexpr (std::is_same_v<decltype(value), const std::string&>)
        text = value;
      else if constexpr (std::is_same_v<decltype(value), const double&>)
        text = number_text(value, "{:.6g}");
      else
        text = fmt::format("{}", value);
    });
    return text;
  };
  std::function<double(Line)> value;
  column.visit(CellRecord(), [&](const auto& of_any) {
    if constexpr (!std::is_same_v<decltype(of_any), const std::string&>)
      value = [&column](Line line) {
        double number = kNoValue;
        column.visit(line.record, [&](const auto& stored) {
          if constexpr (!std::is_same_v<decltype(stored), const std::string&>) number = double(stored);
        });
        return number;
      };
  });
  return {column.name, !value, 0, text, value};
}

std::vector<ReportColumn> make_all() {
  std::vector<ReportColumn> all = make_usual();
  for (const Column<CellRecord>& column : columns<CellRecord>())
    if (std::ranges::find(all, column.name, &ReportColumn::name) == all.end()) all.push_back(stored_column(column));
  return all;
}

}  // namespace

const ReportColumn& report_column(const std::string& name) {
  static const std::vector<ReportColumn> all = make_all();
  const auto found = std::ranges::find(all, name, &ReportColumn::name);
  if (found != all.end()) return *found;
  std::vector<std::string> names;
  for (const ReportColumn& column : all) names.push_back(column.name);
  throw UsageError(fmt::format("there is no column '{}'{}", name, did_you_mean(name, names)));
}

std::vector<ReportColumn> usual_columns() {
  return make_usual();
}

void mark_front(std::vector<ReportLine>& lines) {
  std::map<PlaceKey, std::vector<ReportLine*>> rivals;
  for (ReportLine& line : lines) {
    const CellRecord& r = line.record;
    if (r.role == "oracle" || !has_usable_times(r) || has_untimed_selection(r) || std::isnan(r.speedup)) continue;
    rivals[place_of(r)].push_back(&line);
  }
  const auto beats = [](const CellRecord& a, const CellRecord& b) {
    return a.speedup >= b.speedup && a.rel_l2 <= b.rel_l2 && (a.speedup > b.speedup || a.rel_l2 < b.rel_l2);
  };
  for (auto& [place, here] : rivals)
    for (ReportLine* line : here)
      line->on_front =
          std::ranges::none_of(here, [&](ReportLine* other) { return beats(other->record, line->record); });
}

}  // namespace salebench
