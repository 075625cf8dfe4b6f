// The figures and names of places that load.py also makes, by the table of cases that test_same_figures.py reads too.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "harness/show/rank_report.h"
#include "harness/show/report.h"
#include "results/places.h"

namespace salebench {
namespace {

using nlohmann::json;

/// Whether the value is that of the column of this name: null is NaN.
bool holds(const CellRecord& record, const std::string& name, const json& value) {
  for (const auto& column : columns<CellRecord>()) {
    if (name != column.name) continue;
    bool held = false;
    column.visit(record, [&](const auto& got) {
      if constexpr (std::is_same_v<decltype(got), const double&>)
        held = value.is_null() ? std::isnan(got) : std::abs(got - value.get<double>()) < 1e-12;
      else if constexpr (std::is_same_v<decltype(got), const bool&>)
        held = got == (value != 0);
      else
        held = got == value;
    });
    return held;
  }
  throw std::invalid_argument(fmt::format("no column {}", name));
}

void set(CellRecord& record, const std::string& name, const json& value) {
  for (const auto& column : columns<CellRecord>()) {
    if (name != column.name) continue;
    column.visit(record, [&](auto& target) {
      using Value = std::remove_reference_t<decltype(target)>;
      if constexpr (std::is_same_v<Value, bool>)
        target = value != 0;
      else if (!value.is_null())
        target = value.get<Value>();
    });
    return;
  }
  throw std::invalid_argument(fmt::format("no column {}", name));
}

/// Null leaves a column as it is in an empty record: NaN.
std::vector<CellRecord> cells_of(const json& defaults, const json& test) {
  std::vector<CellRecord> cells;
  for (const json& cell : test["cells"]) {
    json all = defaults;
    all.update(cell);
    cells.emplace_back();
    for (const auto& [name, value] : all.items()) set(cells.back(), name, value);
  }
  return cells;
}

void check(const std::vector<TimedSetting>& settings, const json& expected, const std::string& what) {
  ASSERT_EQ(settings.size(), expected.size()) << what;
  for (std::size_t i = 0; i < settings.size(); ++i) {
    EXPECT_EQ(settings[i].first, expected[i]["cell"]) << what << ", row " << i;
    for (const auto& [name, value] : expected[i].items()) {
      if (name == "cell") continue;
      EXPECT_TRUE(name == "rounds" ? settings[i].rounds == value : holds(settings[i].record, name, value))
          << what << ", row " << i << ": " << name;
    }
  }
}

RankOptions options_of(const json& target) {
  const bool recall = target.contains("at_recall");
  RankOptions options;
  options.target = {recall ? RankTarget::Metric::recall : RankTarget::Metric::error,
                    target[recall ? "at_recall" : "at_error"], target.value("each_head", false),
                    target.value("slack", 0.0)};
  options.by = target.value("by", "") == "dataset" ? RankBy::dataset : RankBy::run;
  options.interpolate = target.value("interpolate", false);
  return options;
}

void check_rank(const std::vector<CellRecord>& cells, const json& test, const std::string& what) {
  const json rows = json::parse(format_rank(cells, options_of(test["target"]), "json"));
  ASSERT_EQ(rows.size(), test["rows"].size()) << what << "\n" << rows.dump(1);
  for (std::size_t i = 0; i < rows.size(); ++i)
    for (const auto& [name, value] : test["rows"][i].items()) {
      if (value.is_number_float() && rows[i][name].is_number())
        EXPECT_NEAR(rows[i][name].get<double>(), value.get<double>(), 1e-12) << what << ", row " << i << ": " << name;
      else
        EXPECT_EQ(rows[i][name], value) << what << ", row " << i << ": " << name;
    }
}

TEST(SameFigures, AsInTheTableOfCases) {
  std::ifstream file(SALEBENCH_SOURCE_DIR "/tests/cases/same_figures.json");
  const json table = json::parse(file);
  for (const json& test : table["cases"]) {
    const std::string name = test["name"];
    const auto cells = cells_of(table["defaults"], test);
    if (test.contains("labels")) {
      EXPECT_EQ(json(place_labels(cells)), test["labels"]) << name;
    }
    if (test.contains("short_settings")) {
      EXPECT_EQ(json(settings_labels(cells)), test["short_settings"]) << name;
    }
    if (test.contains("timed")) check(timed_settings(cells), test["timed"], name);
    for (const json& ranked : test.value("rank", json::array())) check_rank(cells, ranked, name);
    if (!test.contains("at_recall")) continue;
    for (const auto& [recall, picked] : test["at_recall"].items())
      check(fastest_at_recall(cells, std::stod(recall)), picked, fmt::format("{} at {}", name, recall));
  }
}

TEST(Rank, FasterFromALengthOnMeansAtAllLongerOnes) {
  std::vector<CellRecord> cells;
  for (const auto& [method, speedups] : std::map<std::string, std::vector<double>>{
           {"early", {1.2, 0.5, 0.7}}, {"late", {0.5, 1.1, 1.5}}, {"never", {0.5, 0.6, 0.7}}})
    for (int i = 0; i < 3; ++i) {
      const json cell = {{"problem", "p"}, {"method", method},  {"status", "ok"},
                         {"rel_l2", 0.01}, {"total_s", 1.0},    {"timing_usable", 1},
                         {"converged", 1}, {"kv_len", 64 << i}, {"speedup", speedups[std::size_t(i)]}};
      cells.push_back(cells_of(json::object(), {{"cells", {cell}}}).front());
    }
  RankOptions options;
  options.target.value = 0.05, options.by = RankBy::length;
  const std::string text = format_rank(cells, options, "table");
  EXPECT_NE(text.find("faster than dense from: early never, late 128, never never\n"), std::string::npos) << text;
}

CellRecord round_of(int round, double total, bool usable = true) {
  const json cell = {{"problem", "p"},   {"method", "a"},      {"settings", "local=4"},
                     {"status", "ok"},   {"recall_mean", 0.9}, {"round", round},
                     {"total_s", total}, {"converged", 1},     {"timing_usable", usable ? 1 : 0}};
  return cells_of(json::object(), {{"cells", {cell}}}).front();
}

TEST(Report, RoundsAreOneRowWithTheirMedians) {
  const std::vector<CellRecord> rounds = {round_of(0, 0.1), round_of(1, 0.9), round_of(2, 0.8)};
  for (const double recall : {0.0, 0.5}) {
    const std::string table = format_report(rounds, {.format = "table", .at_recall = recall});
    EXPECT_EQ(std::ranges::count(table, '\n'), 3) << table;
    EXPECT_NE(table.find(" 800 "), std::string::npos) << table;
    EXPECT_NE(table.find("medians of 3 rounds"), std::string::npos) << table;
  }
  EXPECT_EQ(std::ranges::count(format_report(rounds, {.format = "csv", .at_recall = 0}), '\n'), 4)
      << "csv gives the cells as they are";
  EXPECT_EQ(std::ranges::count(format_report(rounds, {.format = "csv", .at_recall = 0.5}), '\n'), 2);
}

TEST(Report, SaysWhyNothingIsRanked) {
  const std::string quick = format_report({round_of(0, 0.1, false)}, {.format = "table", .at_recall = 0.5});
  EXPECT_NE(quick.find("not ranked: 1 cell of that recall without usable times"), std::string::npos) << quick;
  const std::string high = format_report({round_of(0, 0.1)}, {.format = "table", .at_recall = 0.95});
  EXPECT_NE(high.find("no cell has a mean recall of 0.95; the highest is 0.9, of a local=4"), std::string::npos)
      << high;
  const std::string none = format_report({CellRecord()}, {.format = "table", .at_recall = 0.95});
  EXPECT_NE(none.find("nothing was measured"), std::string::npos) << none;
}

TEST(Report, TellsCapturesOfOneNameApart) {
  std::vector<CellRecord> cells = {round_of(0, 0.1), round_of(0, 0.2)};
  cells[0].dataset = "/x/qwen/capture.h5", cells[1].dataset = "/x/llama/capture.h5";
  const std::string table = format_report(cells, {.format = "table", .at_recall = 0});
  EXPECT_NE(table.find("\nqwen/capture.h5 p "), std::string::npos) << table;
  EXPECT_NE(table.find("\nllama/capture.h5 p "), std::string::npos) << table;
  cells[0].recall_mean = 0.5;
  EXPECT_NE(format_report(cells, {.format = "table", .at_recall = 0.9}).find("\nllama/capture.h5 p "),
            std::string::npos)
      << "named also where one is left";
}

}  // namespace
}  // namespace salebench
