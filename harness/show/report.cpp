#include "harness/show/report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "core/hdf5.h"
#include "core/json_text.h"
#include "harness/run/run_state.h"
#include "harness/support/record_json.h"
#include "harness/support/text_table.h"
#include "results/places.h"

namespace salebench {
namespace {

using Row = TextRow;

const Row kHeader = {"problem", "len",       "method",   "settings",  "density",  "recall",  "p05",   "rel_l2",
                     "worst",   "select ms", "index ms", "attend ms", "total ms", "speedup", "status"};

/// A row of the table: a cell, or the rounds of one.
struct Line {
  CellRecord record;
  int rounds = 1;
  std::string place, settings;
  bool notes_differ = false;
};

std::string status_text(const Line& line) {
  const CellRecord& r = line.record;
  std::string status = r.status;
  if (!r.reason.empty()) status += ": " + r.reason;
  if (r.status == "ok" && !r.timing_usable) status += " (quick: times unusable)";
  if (r.busy) status += " (busy machine: times not usable)";
  if (line.notes_differ && !r.note.empty()) status += fmt::format(" [{}]", r.note);
  if (line.rounds > 1) status += fmt::format(" (medians of {} rounds)", line.rounds);
  if (r.status == "ok" && r.timing_usable && !r.converged) status += fmt::format(" (noisy, ±{:.0f}%)", 100 * r.noise);
  return status;
}

Row report_row(const Line& line) {
  const CellRecord& r = line.record;
  return {line.place,
          std::to_string(r.problem.shape.kv_len),
          display_name(r),
          line.settings,
          number_text(r.density, "{:.4f}"),
          number_text(r.recall_mean, "{:.4f}"),
          number_text(r.recall_p05, "{:.4f}"),
          number_text(r.rel_l2, "{:.2e}"),
          number_text(r.rel_l2_worst, "{:.2e}"),
          number_text(r.select_s, "{:.3g}", 1e3),
          number_text(r.index_s, "{:.3g}", 1e3),
          number_text(r.attend_s, "{:.3g}", 1e3),
          number_text(r.total_s, "{:.3g}", 1e3),
          number_text(r.speedup, "{:.2f}"),
          status_text(line)};
}

std::string csv(const std::vector<CellRecord>& records) {
  std::string text;
  for (const auto& column : columns<CellRecord>()) text += fmt::format("{}{}", text.empty() ? "" : ",", column.name);
  text += "\n";
  for (const CellRecord& record : records) {
    std::string line;
    for (const auto& column : columns<CellRecord>()) {
      if (&column != &columns<CellRecord>().front()) line += ",";
      column.visit(record, [&](const auto& value) {
        if constexpr (std::is_same_v<decltype(value), const std::string&>) {
          line += csv_text(value);
        } else if constexpr (std::is_same_v<decltype(value), const bool&>) {
          line += value ? "1" : "0";
        } else {
          line += fmt::format("{}", value);
        }
      });
    }
    text += line + "\n";
  }
  return text;
}

std::string json(const std::vector<CellRecord>& records) {
  nlohmann::json rows = nlohmann::json::array();
  for (const CellRecord& record : records) {
    rows.push_back(json_of(record));
  }
  return json_text(rows, 1) + "\n";
}

/// What the speedups are over; empty where there are none.
std::string denominators(const std::vector<TimedSetting>& settings) {
  std::set<std::string> names;
  for (const TimedSetting& setting : settings) {
    const CellRecord& r = setting.record;
    if (!std::isnan(r.speedup)) names.insert(baseline_text(r));
  }
  return names.empty() ? "" : fmt::format("\nspeedup: over {}, timed beside each cell\n", fmt::join(names, ", "));
}

/// The settings with usable times, rounds as one, and every other cell as it is.
std::vector<TimedSetting> settings_and_failures(const std::vector<CellRecord>& records) {
  std::vector<TimedSetting> all = timed_settings(records);
  for (std::size_t i = 0; i < records.size(); ++i)
    if (!has_usable_times(records[i])) all.push_back({i, 1, records[i], {}});
  std::ranges::sort(all, {}, &TimedSetting::first);
  return all;
}

std::vector<Line> lines_of(const std::vector<CellRecord>& records, const std::vector<TimedSetting>& settings) {
  const auto places = place_labels(records), labels = settings_labels(records);
  const bool notes_differ =
      std::ranges::any_of(records, [&](const CellRecord& r) { return r.note != records[0].note; });
  std::vector<Line> lines;
  for (const TimedSetting& s : settings) {
    lines.push_back({s.record, s.rounds, places[s.first], labels[s.first], notes_differ});
    const bool one_of_several = s.record.round > 0 && !has_usable_times(s.record);
    if (one_of_several)
      lines.back().settings += fmt::format("{}round={}", labels[s.first].empty() ? "" : " ", s.record.round);
  }
  std::ranges::stable_sort(lines, {},
                           [](const Line& line) { return std::pair(line.place, line.record.problem.shape.kv_len); });
  return lines;
}

/// What must be said of times that were taken beside other work; empty if none were.
std::string busy_text(const std::vector<TimedSetting>& settings) {
  const auto busy = std::ranges::count_if(settings, [](const TimedSetting& s) { return s.record.busy != 0; });
  if (busy == 0) return "";
  return fmt::format(
      "\nbusy: {} of {} rows were measured while other processes took the cores: which is faster can't be "
      "told from their times\n",
      busy, settings.size());
}

/// What `--at-recall` could not rank, or why nothing is left to rank; empty if all that reaches the recall is ranked.
std::string left_out(const std::vector<CellRecord>& records, double recall, bool none_picked) {
  std::vector<const CellRecord*> rivals;
  for (const CellRecord& r : records)
    if (r.status == "ok" && r.role != "oracle" && !std::isnan(r.recall_mean)) rivals.push_back(&r);
  const auto count = [&](const auto& is) {
    return std::ranges::count_if(rivals, [&](const CellRecord* r) { return r->recall_mean >= recall && is(*r); });
  };
  std::string text;
  const auto add = [&](std::ptrdiff_t cells, const char* why) {
    if (cells > 0)
      text += fmt::format("\nnot ranked: {} cell{} of that recall {}\n", cells, cells == 1 ? "" : "s", why);
  };
  add(count([](const CellRecord& r) { return !has_usable_times(r); }),
      "without usable times, such as those of a --quick run");
  add(count([](const CellRecord& r) { return has_usable_times(r) && has_untimed_selection(r); }),
      "whose mask was made elsewhere, so that their times leave out the selection");
  if (!text.empty() || !none_picked) return text;
  if (rivals.empty()) return "\nnothing was measured\n";
  const CellRecord& best = **std::ranges::max_element(rivals, {}, [](const CellRecord* r) { return r->recall_mean; });
  return fmt::format("\nno cell has a mean recall of {}; the highest is {:.10g}, of {}{}{}\n", recall, best.recall_mean,
                     display_name(best), best.settings.empty() ? "" : " ", best.settings);
}

}  // namespace

std::string baseline_text(const CellRecord& record) {
  return record.baseline_kernel.empty() ? record.baseline
                                        : fmt::format("{} by {}", record.baseline, record.baseline_kernel);
}

std::string csv_text(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + '"';
}

std::vector<CellRecord> load_records(const std::string& path) {
  try {
    if (!std::filesystem::is_directory(path)) return read_run(path);
  } catch (const h5::Error& error) {
    throw UsageError(error.what());
  }
  const RunFolder folder(path);
  if (folder.is_collected()) return read_run(folder.run_path());  // a hundred times as fast as the cells' own files
  const Plan plan = folder.plan();
  return RunState(folder, plan).records(plan);
}

void leave_out_doubtful(std::vector<CellRecord>& records, bool times_alone) {
  const auto is_doubtful = [](const CellRecord& r) { return has_usable_times(r) && (!r.converged || r.busy); };
  if (!times_alone) {
    std::erase_if(records, is_doubtful);
    return;
  }
  for (CellRecord& r : records)
    if (is_doubtful(r)) r.timing_usable = false;
}

std::string format_report(const std::vector<CellRecord>& records, const std::string& format, double at_recall) {
  const auto settings = at_recall > 0 ? fastest_at_recall(records, at_recall) : settings_and_failures(records);
  if (format == "csv" || format == "json") {
    std::vector<CellRecord> cells = records;
    if (at_recall > 0) {
      cells.clear();
      for (const TimedSetting& setting : settings) cells.push_back(setting.record);
    }
    return format == "csv" ? csv(cells) : json(cells);
  }
  std::vector<Row> rows = {kHeader};
  for (const Line& line : lines_of(records, settings)) rows.push_back(report_row(line));
  return aligned_table(rows, {0, 2, 3, kHeader.size() - 1}, format == "md") +
         (at_recall > 0 ? left_out(records, at_recall, settings.empty()) : "") + denominators(settings) +
         busy_text(settings);
}

}  // namespace salebench
