#include "harness/show/report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "core/hdf5.h"
#include "core/json_text.h"
#include "core/nearest.h"
#include "harness/plan/name_filter.h"
#include "harness/run/run_state.h"
#include "harness/show/report_table.h"
#include "harness/support/record_json.h"
#include "results/places.h"

namespace salebench {
namespace {

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

/// Throws UsageError for a text that none of the names matches.
std::vector<NameFilter> filters_of(const std::vector<std::string>& texts, const std::vector<std::string>& names,
                                   const char* what) {
  std::vector<NameFilter> filters;
  for (const std::string& text : texts) {
    filters.emplace_back(text, names);
    if (std::ranges::any_of(names, filters.back())) continue;
    const std::set<std::string> known(names.begin(), names.end());
    throw UsageError(
        fmt::format("no {} is called '{}'{}", what, text, did_you_mean(text, {known.begin(), known.end()})));
  }
  return filters;
}

/// Leaves what `--method` and `--problem` name. Throws UsageError where one names nothing.
std::vector<CellRecord> chosen_records(const std::vector<CellRecord>& records, const ReportOptions& options) {
  std::vector<std::string> methods, problems = place_labels(records);
  for (const CellRecord& r : records) methods.push_back(display_name(r)), problems.push_back(r.problem.id);
  const std::vector<NameFilter> of_methods = filters_of(options.methods, methods, "method"),
                                of_problems = filters_of(options.problems, problems, "problem");
  const auto names = [](const std::vector<NameFilter>& filters, const std::string& name) {
    return filters.empty() || std::ranges::any_of(filters, [&](const NameFilter& filter) { return filter(name); });
  };
  std::vector<CellRecord> chosen;
  for (std::size_t i = 0; i < records.size(); ++i)
    if (names(of_methods, methods[i]) && (names(of_problems, problems[i]) || names(of_problems, records[i].problem.id)))
      chosen.push_back(records[i]);
  return chosen;
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
  if (folder.is_collected()) {
    try {
      return read_run(folder.run_path());  // a hundred times as fast as the cells' own files
    } catch (const h5::Error&) {
      // Damaged from outside: the cells' own files say the same.
    }
  }
  const Plan plan = folder.plan();
  return RunState(folder, plan).records(plan);
}

void leave_out_doubtful(std::vector<CellRecord>& records, bool times_alone) {
  if (!times_alone) {
    std::erase_if(records, is_in_doubt);
    return;
  }
  for (CellRecord& r : records)
    if (is_in_doubt(r)) r.timing_usable = false;
}

std::string format_report(const std::vector<CellRecord>& all_records, const ReportOptions& options) {
  const double at_recall = options.at_recall;
  const std::vector<CellRecord> records = chosen_records(all_records, options);
  const auto settings = at_recall > 0 ? fastest_at_recall(records, at_recall) : settings_and_failures(records);
  if (options.format == "csv" || options.format == "json") {
    std::vector<CellRecord> cells = records;
    if (at_recall > 0) {
      cells.clear();
      for (const TimedSetting& setting : settings) cells.push_back(setting.record);
    }
    return options.format == "csv" ? csv(cells) : json(cells);
  }
  const ReportTable table = report_table(records, settings, options);
  return table.text + (at_recall > 0 ? left_out(records, at_recall, settings.empty()) : "") + denominators(settings) +
         (table.has_front ? "*: no rival in the table is faster at the problem with less error\n" : "") +
         busy_text(settings);
}

}  // namespace salebench
