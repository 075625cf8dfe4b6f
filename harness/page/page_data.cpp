#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <map>
#include <set>

#include "core/json_text.h"
#include "harness/page/page.h"
#include "harness/show/rank_report.h"
#include "harness/support/provenance.h"
#include "results/places.h"

namespace salebench {
namespace {

constexpr int kSchema = 1;
constexpr std::array kErrors = {0.01, 0.02, 0.05, 0.1, 0.2};
constexpr std::array kRecalls = {0.8, 0.9, 0.95, 0.98, 0.99};

using Cells = std::vector<CellRecord>;

/// JSON in a script element: a "</script>" in a name must not end it.
std::string script_text(const nlohmann::json& value) {
  std::string text;
  for (const char c : json_text(value)) text += c == '<' ? std::string("\\u003c") : std::string(1, c);
  return text;
}

/// More digits than a plot shows and fewer than a double has, as they are most of the page.
std::string number(double value) {
  return std::isfinite(value) ? fmt::format("{:.4g}", value) : "null";
}

/// "name":[...] of a number of each row.
template <class Rows, class Value>
std::string numbers(const char* name, const Rows& rows, const Value& value) {
  std::vector<std::string> texts;
  for (const auto& row : rows) texts.push_back(number(double(value(row))));
  return fmt::format("\"{}\":[{}]", name, fmt::join(texts, ","));
}

/// "name":[...] of whole numbers, which keep all their digits.
template <class Value>
std::string integers(const char* name, const Cells& cells, const Value& value) {
  std::vector<std::int64_t> all;
  for (const CellRecord& cell : cells) all.push_back(value(cell));
  return fmt::format("\"{}\":[{}]", name, fmt::join(all, ","));
}

/// "name":{"of":[each text once],"at":[which one, row by row]}
std::string texts(const char* name, const std::vector<std::string>& of_rows) {
  std::map<std::string, std::size_t> place;
  std::vector<std::string> distinct;
  std::vector<std::size_t> at;
  for (const std::string& text : of_rows) {
    const auto [found, is_new] = place.try_emplace(text, distinct.size());
    if (is_new) distinct.push_back(text);
    at.push_back(found->second);
  }
  return fmt::format("\"{}\":{{\"of\":{},\"at\":[{}]}}", name, script_text(distinct), fmt::join(at, ","));
}

template <class Value>
std::string texts(const char* name, const Cells& cells, const Value& value) {
  std::vector<std::string> all;
  for (const CellRecord& cell : cells) all.push_back(value(cell));
  return texts(name, all);
}

std::string cell_texts(const Cells& cells) {
  const auto datasets = dataset_labels(cells);
  using C = const CellRecord&;
  const std::vector<std::string> columns = {
      texts("place", place_labels(cells)),
      texts("dataset", cells, [&](C c) { return datasets.at(c.dataset); }),
      texts("problem", cells, [](C c) { return c.problem.id; }),
      texts("settings", settings_labels(cells)),
      texts("method", cells, [](C c) { return display_name(c); }),
      texts("role", cells, [](C c) { return c.role; }),
      texts("knob", cells, [](C c) { return c.knob; }),
      texts("backend", cells, [](C c) { return c.backend; }),
      texts("status", cells, [](C c) { return c.status; }),
      texts("reason", cells, [](C c) { return c.reason; }),
      texts("repro", cells, [](C c) { return c.repro; }),
      texts("selected_on", cells, [](C c) { return c.selected_on; }),
      texts("attend_kernel", cells, [](C c) { return c.attend_kernel; }),
  };
  return fmt::format("{}", fmt::join(columns, ",\n"));
}

std::string cell_numbers(const Cells& cells) {
  using C = const CellRecord&;
  std::vector<std::string> columns = {
      integers("cell", cells, [](C c) { return c.cell; }),
      integers("layer", cells, [](C c) { return c.problem.layer; }),
      integers("length", cells, [](C c) { return c.problem.shape.kv_len; }),
      integers("round", cells, [](C c) { return c.round; }),
      integers("converged", cells, [](C c) { return c.converged; }),
      integers("busy", cells, [](C c) { return c.busy; }),
      integers("timing_usable", cells, [](C c) { return c.timing_usable; }),
  };
  // The names under which results hold these.
  const std::set<std::string> shown = {"density", "recall_mean", "recall_p05", "rel_l2",     "rel_l2_worst", "select_s",
                                       "index_s", "attend_s",    "total_s",    "total_lo_s", "total_hi_s",   "dense_s",
                                       "speedup", "speedup_lo",  "speedup_hi", "noise"};
  for (const Column<CellRecord>& column : salebench::columns<CellRecord>()) {
    if (!shown.contains(column.name)) continue;
    columns.push_back(numbers(column.name.c_str(), cells, [&](C cell) {
      double figure = kNoValue;
      column.visit(cell, [&](const auto& value) {
        if constexpr (std::is_same_v<decltype(value), const double&>) figure = value;
      });
      return figure;
    }));
  }
  return fmt::format("{}", fmt::join(columns, ",\n"));
}

std::string heads_text(const std::vector<HeadRecord>& heads) {
  std::vector<std::int64_t> cells, counts;
  for (const HeadRecord& head : heads) {
    if (cells.empty() || cells.back() != head.cell) cells.push_back(head.cell), counts.push_back(0);
    ++counts.back();
  }
  using H = const HeadRecord&;
  return fmt::format("{{\"cell\":[{}],\"heads\":[{}],\n{},\n{},\n{}}}", fmt::join(cells, ","), fmt::join(counts, ","),
                     numbers("density", heads, [](H h) { return h.density; }),
                     numbers("recall_mean", heads, [](H h) { return h.recall_mean; }),
                     numbers("rel_l2", heads, [](H h) { return h.rel_l2; }));
}

/// The rankings that the reader may choose from: at some targets, and at the usual ones.
nlohmann::json ranks_json(const Cells& cells, std::vector<RankTarget> targets) {
  using Metric = RankTarget::Metric;
  const auto add = [&](Metric metric, double value) {
    const auto is_it = [&](const RankTarget& target) {
      return target.metric == metric && target.value == value && !target.each_head && target.slack == 0;
    };
    if (std::ranges::none_of(targets, is_it)) targets.push_back({metric, value});
  };
  for (const double error : kErrors) add(Metric::error, error);
  for (const double recall : kRecalls) add(Metric::recall, recall);
  std::set<int> lengths;
  for (const CellRecord& cell : cells) lengths.insert(cell.problem.shape.kv_len);
  nlohmann::json ranks = nlohmann::json::array();
  for (const RankTarget& target : targets)
    for (const RankBy by : {RankBy::run, RankBy::length}) {
      if (by == RankBy::length && lengths.size() < 2) continue;
      ranks.push_back({{"metric", target.metric == Metric::error ? "error" : "recall"},
                       {"value", target.value},
                       {"each_head", target.each_head},
                       {"slack", target.slack},
                       {"by", by == RankBy::run ? "run" : "length"},
                       {"chosen", &target == &targets.front()},
                       {"text", target_text(target)},
                       {"rows", rank_rows_json(rank(cells, {.target = target, .by = by}))}});
    }
  return ranks;
}

/// What the run's file says of machine and program, in pairs for people.
nlohmann::json machine_json(const RunView& view) {
  nlohmann::json pairs = nlohmann::json::array();
  const auto add = [&](const char* name, const nlohmann::json& value) {
    const std::string text = value.is_string() ? value.get<std::string>() : value.is_null() ? "" : json_text(value);
    if (!text.empty()) pairs.push_back({name, text});
  };
  const RunAttributes& attributes = view.contents.attributes;
  const auto attribute = [&](const char* name) {
    const auto found = attributes.find(name);
    return found == attributes.end() ? std::string() : found->second;
  };
  const nlohmann::json machine = nlohmann::json::parse(attribute("provenance"), nullptr, false);
  const auto at = [&](const char* pointer) {
    const nlohmann::json::json_pointer where(pointer);
    return !machine.is_discarded() && machine.contains(where) ? machine.at(where) : nlohmann::json();
  };
  std::set<std::string> cpus, devices, simds;
  std::set<std::int64_t> threads;
  for (const CellRecord& cell : view.contents.cells) {
    if (!cell.host.empty()) cpus.insert(cell.host);
    if (!cell.simd.empty()) simds.insert(cell.simd);
    if (!cell.device.empty()) devices.insert(cell.device);
    threads.insert(cell.threads);
  }
  add("CPU", fmt::format("{}", fmt::join(cpus, "; ")));
  add("instruction set", fmt::format("{}", fmt::join(simds, "; ")));
  add("CPU threads", fmt::format("{}", fmt::join(threads, ", ")));
  add("cores", at("/host/cores"));
  const nlohmann::json memory = at("/host/memory");  // "24684092 kB"
  if (const double kb = memory.is_string() ? std::strtod(memory.get<std::string>().c_str(), nullptr) : 0; kb > 0)
    add("memory", fmt::format("{:.0f} GiB", kb / 1024 / 1024));
  add("GPU", fmt::format("{}", fmt::join(devices, "; ")));
  if (const nlohmann::json driver = at("/cuda/driver"); driver.is_number_integer() && driver > 0)
    add("CUDA driver", fmt::format("{}.{}", driver.get<int>() / 1000, driver.get<int>() % 1000 / 10));
  add("operating system", at("/host/os"));
  add("version", at("/program/version"));
  add("commit", at("/program/git"));
  add("compiler", at("/program/compiler"));
  add("flags", at("/program/flags"));
  add("begun", attribute("created_utc"));
  add("command", attribute("argv"));
  add("note", attribute("note"));
  return pairs;
}

}  // namespace

std::string page_data(const RunView& view, const std::vector<RankTarget>& targets, bool live) {
  const Cells& cells = view.contents.cells;
  const auto config = view.contents.attributes.find("config_yaml");
  const nlohmann::json head = {
      {"schema", kSchema},
      {"live", live},
      {"title", view.title},
      {"made_utc", utc_now()},
      {"planned", view.planned},
      {"config", config == view.contents.attributes.end() ? "" : config->second},
      {"machine", machine_json(view)},
      {"ranks", ranks_json(cells, targets)},
      {"notes", rank_notes(cells)},
  };
  std::string text = script_text(head);
  text.pop_back();  // the closing brace
  return fmt::format("{},\n\"cells\":{{\"rows\":{},\n{},\n{}}},\n\"heads\":{}}}\n", text, cells.size(),
                     cell_numbers(cells), cell_texts(cells), heads_text(view.contents.heads));
}

}  // namespace salebench
