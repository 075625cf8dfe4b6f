#include "harness/report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "core/hdf5.h"
#include "harness/run_folder.h"
#include "harness/text_table.h"

namespace salebench {
namespace {

using Row = TextRow;

const Row kHeader = {"problem", "len",       "method",   "settings",  "density",  "recall",  "p05",   "rel_l2",
                     "worst",   "select ms", "index ms", "attend ms", "total ms", "speedup", "status"};

Row report_row(const CellRecord& r) {
  std::string status = r.status;
  if (!r.reason.empty()) status += ": " + r.reason;
  if (r.status == "ok" && !r.timing_usable) status += " (quick: times unusable)";
  if (r.status == "ok" && r.timing_usable && !r.converged) status += fmt::format(" (noisy, ±{:.0f}%)", 100 * r.noise);
  return {r.problem.id + (r.repeat > 1 ? fmt::format(" x{}", r.repeat) : "") + (r.backend == "cuda" ? " cuda" : ""),
          std::to_string(r.problem.shape.kv_len),
          r.method,
          r.round > 0 ? fmt::format("{}{}round={}", r.settings, r.settings.empty() ? "" : " ", r.round) : r.settings,
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
          status};
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
          line += '"';
          for (const char c : value) line += c == '"' ? std::string("\"\"") : std::string(1, c);
          line += '"';
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
    nlohmann::json row;
    for (const auto& column : columns<CellRecord>())
      column.visit(record, [&](const auto& value) { row[column.name] = value; });  // NaN becomes null
    rows.push_back(row);
  }
  return rows.dump(1) + "\n";
}

/// What is compared with each other: the same problem at the same length on the same backend.
using ProblemKey = std::tuple<std::string, std::string, std::int64_t, std::int64_t, std::string>;
ProblemKey problem_of(const CellRecord& r) {
  return {r.dataset, r.problem.id, r.problem.shape.kv_len, r.repeat, r.backend};
}

/// What the speedups are over; empty where there are none.
std::string denominators(const std::vector<CellRecord>& records) {
  std::set<std::string> names;
  for (const CellRecord& r : records)
    if (!std::isnan(r.speedup))
      names.insert(r.baseline_kernel.empty() ? r.baseline : fmt::format("{} by {}", r.baseline, r.baseline_kernel));
  return names.empty() ? "" : fmt::format("\nspeedup: over {}, timed beside each cell\n", fmt::join(names, ", "));
}

std::vector<CellRecord> fastest_at(const std::vector<CellRecord>& records, double recall) {
  std::map<std::pair<ProblemKey, std::string>, CellRecord> best;
  for (const CellRecord& r : records) {
    if (r.status != "ok" || r.recall_mean < recall || r.role == "oracle") continue;  // an oracle's time means nothing
    const auto [place, fresh] = best.try_emplace({problem_of(r), r.method}, r);
    if (!fresh && r.total_s < place->second.total_s) place->second = r;
  }
  std::vector<CellRecord> picked;
  for (auto& [key, record] : best) picked.push_back(std::move(record));
  return picked;
}

}  // namespace

std::vector<CellRecord> load_records(const std::string& path) {
  try {
    if (!std::filesystem::is_directory(path)) return read_run(path);
  } catch (const h5::Error& error) {
    throw UsageError(error.what());
  }
  const RunFolder folder(path);
  return folder.records(folder.plan());
}

std::string format_report(std::vector<CellRecord> records, const std::string& format, double at_recall) {
  if (at_recall > 0) records = fastest_at(records, at_recall);
  if (format == "csv") return csv(records);
  if (format == "json") return json(records);
  std::ranges::stable_sort(records, {}, problem_of);
  std::vector<Row> rows = {kHeader};
  for (const CellRecord& r : records) rows.push_back(report_row(r));
  return aligned_table(rows, {0, 2, 3, kHeader.size() - 1}, format == "md") + denominators(records);
}

}  // namespace salebench
