// The harness's parts that need no process: config, plan, timing rule, report.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "harness/cell/measure.h"
#include "harness/plan/config.h"
#include "harness/plan/plan.h"
#include "harness/run/progress.h"
#include "harness/run/worker.h"
#include "harness/show/report.h"
#include "harness/support/errors.h"
#include "harness/support/interrupts.h"
#include "tests/results/columns.h"

namespace salebench {
namespace {

constexpr const char* kSample = SALEBENCH_SOURCE_DIR "/datasets/samples/smollm2-135m_kjv_8k.h5";

SweepConfig config_of(const std::string& text, const std::vector<std::string>& overrides = {}) {
  const auto path =
      std::filesystem::temp_directory_path() / ("salebench_config_" + std::to_string(::getpid()) + ".yaml");
  std::ofstream(path) << text;
  return read_config(path, overrides);
}

std::string sweep_text(const std::string& methods) {
  return std::string("version: 1\ndatasets:\n  - {path: ") + kSample +
         ", problems: ['layer17*'], lengths: [256, 300]}\nmethods:\n" + methods;
}

std::string error_of(const std::string& text, const std::vector<std::string>& overrides = {}) {
  try {
    config_of(text, overrides);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

TEST(Config, ReadsValuesAndOverrides) {
  const SweepConfig s = config_of(sweep_text("  sale: {threshold: [1e-3, 0.002]}\nmeasure: {cache: hot}\n"),
                                  {"measure.max_time=7", "methods.dense={}", "datasets.0.lengths=[128]"});
  EXPECT_EQ(s.measure.cache, "hot");
  EXPECT_EQ(s.measure.max_time, 7);
  EXPECT_EQ(s.methods.size(), 2u);
  EXPECT_EQ(s.methods[0].axes[0].second, (std::vector<std::string>{"0.001", "0.002"}));
  EXPECT_EQ(s.datasets[0].lengths, std::vector<int>{128});
}

TEST(Config, ErrorsSayWhereAndWhatWouldBeRight) {
  const std::string typo = error_of(sweep_text("  sale: {treshold: 0.1}\n"));
  EXPECT_NE(typo.find(":5:10: methods.sale.treshold: unknown key (did you mean 'threshold'?)"), std::string::npos)
      << typo;
  const std::string method = error_of(sweep_text("  sail: {}\n"));
  EXPECT_NE(method.find("did you mean 'sale'"), std::string::npos) << method;
  const std::string set = error_of(sweep_text("  sale: {}\n"), {"measure.max_tme=3"});
  EXPECT_NE(set.find("--set measure.max_tme: unknown key (did you mean 'max_time'?)"), std::string::npos) << set;
}

TEST(Plan, ExpandsAxesAndNamesCellsByContent) {
  const Plan plan =
      make_plan(config_of(sweep_text("  dense: {}\n  block_topk: {budget: [0.1, 0.2, 0.10], sink: [0, 1]}\n")), false);
  EXPECT_EQ(plan.cells.size(), 2u * (1 + 4));  // 0.1 and 0.10 are the same cell
  std::set<std::string> ids;
  for (const PlannedCell& cell : plan.cells) EXPECT_TRUE(ids.insert(cell.id).second);
  const Plan again = make_plan(config_of(sweep_text("  block_topk: {sink: 1, budget: 0.2}\n")), false);
  EXPECT_TRUE(ids.contains(again.cells[0].id)) << "the id depends on the order of keys";
  const Plan other =
      make_plan(config_of(sweep_text("  block_topk: {sink: 1, budget: 0.2}\nmeasure: {max_time: 9}\n")), false);
  EXPECT_FALSE(ids.contains(other.cells[0].id)) << "the id ignores the measure section";
  EXPECT_TRUE(matches(plan.cells[0], cell_filter(plan, {{"dense*"}, {}})));
  EXPECT_TRUE(matches(plan.cells[0], cell_filter(plan, {})));
  EXPECT_FALSE(matches(plan.cells[0], cell_filter(plan, {{"*block*"}, {}})));
  EXPECT_FALSE(matches(plan.cells[0], cell_filter(plan, {{"dense*"}, {"*den*"}})));
  const ChoiceFilter one = cell_filter(plan, {{plan.cells[0].title()}, {}});
  EXPECT_EQ(std::ranges::count_if(plan.cells, [&](const PlannedCell& cell) { return matches(cell, one); }), 1);
}

TEST(NameFilter, AnExactNameWinsOverAGlob) {
  const std::vector<std::string> names = {"layers[3]", "layers3", "layers[4]"};
  const auto taken = [&](const std::string& text) {
    const NameFilter filter(text, names);
    std::vector<std::string> list;
    std::ranges::copy_if(names, std::back_inserter(list), filter);
    return list;
  };
  EXPECT_EQ(taken("layers[3]"), std::vector<std::string>{"layers[3]"});
  EXPECT_EQ(taken("layers[34]"), std::vector<std::string>{"layers3"});
  EXPECT_EQ(taken("layers\\[*"), (std::vector<std::string>{"layers[3]", "layers[4]"}));
  EXPECT_EQ(taken(""), names);
}

TEST(Plan, GoesThroughJsonUnchanged) {
  const Plan plan = make_plan(config_of(sweep_text("  sale: {threshold: 0.1}\nsave: [masks]\n")), true);
  EXPECT_EQ(plan_to_json(plan_from_json(plan_to_json(plan))), plan_to_json(plan));
}

TEST(Plan, KeepsEachFactOfAProblem) {
  Plan plan = make_plan(config_of(sweep_text("  dense: {}\n")), true);
  plan.cells.resize(1);
  for (const auto& changed : columns<ProblemInfo>()) {
    const ProblemInfo info = with_changed(changed, *plan.cells[0].problem);
    ASSERT_NE(text_of(changed, info), text_of(changed, *plan.cells[0].problem)) << changed.name;
    Plan other = plan;
    other.cells[0].problem = std::make_shared<const ProblemInfo>(info);
    const Plan read = plan_from_json(plan_to_json(other));
    for (const auto& column : columns<ProblemInfo>())
      EXPECT_EQ(text_of(column, *read.cells[0].problem), text_of(column, info)) << column.name << ", " << changed.name;
  }
}

/// Sets each column of a part of a plan off its value in turn, and expects it back from plan.json.
template <class Part, class PartOf>
void check_each_column(const Plan& plan, const PartOf& part_of) {
  for (const auto& changed : columns<Part>()) {
    Plan other = plan;
    part_of(other) = with_changed(changed, part_of(other));
    ASSERT_NE(text_of(changed, part_of(other)), text_of(changed, part_of(plan))) << changed.name;
    const Plan read = plan_from_json(plan_to_json(other));
    for (const auto& column : columns<Part>())
      EXPECT_EQ(text_of(column, part_of(read)), text_of(column, part_of(other))) << column.name << ", " << changed.name;
  }
}

TEST(Plan, KeepsEachSettingOfTheSweepAndOfACell) {
  Plan plan = make_plan(config_of(sweep_text("  sale: {threshold: 0.1}\n")), false);
  plan.cells.resize(1);
  check_each_column<Plan>(
      plan, [](auto& p) -> auto& { return p; });
  check_each_column<PlannedCell>(
      plan, [](auto& p) -> auto& { return p.cells[0]; });
}

TEST(Plan, HoldsEachProblemOnce) {
  const Plan plan = make_plan(config_of(sweep_text("  block_topk: {budget: [0.1, 0.2, 0.3]}\n")), true);
  const std::string json = plan_to_json(plan);
  EXPECT_EQ(plan.cells.size(), 6u);  // of two lengths
  std::size_t count = 0;
  for (std::size_t at = 0; (at = json.find(plan.cells[0].problem->prompt, at)) != std::string::npos; ++at) ++count;
  EXPECT_EQ(count, 1u);
}

/// Work that takes at least the given time.
TimedWork sleeping_work(std::chrono::microseconds time, int* runs) {
  TimedWork work;
  work.sample = [=] {
    ++*runs;
    const auto start = std::chrono::steady_clock::now();
    std::this_thread::sleep_for(time);
    PhaseTimes times;
    times.attend = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return times;
  };
  return work;
}

TEST(Measure, TakesAtLeastTheSamplesAskedForAndKeepsAll) {
  int runs = 0;
  MeasureConfig config;
  config.warmup = 0, config.min_time = 0, config.max_time = 0, config.min_samples = 7;
  const Samples samples = measure("t", sleeping_work(std::chrono::microseconds(100), &runs), config, 1, false);
  EXPECT_EQ(runs, 7);
  EXPECT_EQ(samples.total.size(), 7u);
  EXPECT_EQ(samples.attend.size(), 7u);
  EXPECT_EQ(samples.select.size(), 7u);
  EXPECT_TRUE(samples.index.empty());
  EXPECT_TRUE(samples.baseline.empty());
  for (const double seconds : samples.attend) EXPECT_GE(seconds, 100e-6);
}

TEST(Measure, StopsWhenTheMedianIsKnown) {
  int runs = 0;
  MeasureConfig config;
  config.warmup = 0, config.min_time = 0, config.max_time = 60, config.max_noise = 1;
  const Samples samples = measure("t", sleeping_work(std::chrono::microseconds(50), &runs), config, 1, false);
  EXPECT_TRUE(samples.converged);
  EXPECT_LT(runs, 1000);
}

TEST(Measure, OnceMeansOnce) {
  int runs = 0;
  EXPECT_EQ(measure("t", sleeping_work(std::chrono::microseconds(1), &runs), {}, 1, true).total.size(), 1u);
  EXPECT_EQ(runs, 1);
}

TEST(Measure, AWrongSampleEndsTheTiming) {
  TimedWork work;
  work.sample = []() -> PhaseTimes { throw std::runtime_error("wrong"); };
  EXPECT_THROW(measure("t", work, {}, 1, true), std::runtime_error);
}

CellRecord record(const char* method, double recall, double total, const char* status = "ok") {
  CellRecord r;
  r.method = method, r.recall_mean = recall, r.total_s = total, r.status = status, r.problem.id = "p";
  r.timing_usable = 1, r.converged = 1;
  return r;
}

TEST(Report, PicksTheFastestAtARecall) {
  const std::string text = format_report({record("a", 0.99, 0.5), record("a", 0.97, 0.2), record("a", 0.9, 0.1),
                                          record("b", 0.5, 0.1), record("c", 0.99, 0.1, "incorrect")},
                                         {.format = "csv", .at_recall = 0.95});
  EXPECT_EQ(std::ranges::count(text, '\n'), 2);
  EXPECT_NE(text.find(",0.97,"), std::string::npos);
}

TEST(Report, TablesAlignAndSayWhy) {
  CellRecord failed = record("sale", kNoValue, kNoValue, "error");
  failed.reason = "it broke";
  const std::string table = format_report({record("dense", 1, 0.1), failed}, {.format = "table", .at_recall = 0});
  EXPECT_NE(table.find("error: it broke"), std::string::npos);
  EXPECT_EQ(table.find("nan"), std::string::npos);
  EXPECT_TRUE(format_report({failed}, {.format = "md", .at_recall = 0}).starts_with("| problem"));
}

TEST(Report, NamesWhatTheSpeedupsAreOver) {
  CellRecord cell = record("sale", 0.99, 0.1);
  EXPECT_EQ(format_report({cell}, {.format = "table", .at_recall = 0}).find("speedup: over"), std::string::npos);
  cell.speedup = 2, cell.baseline = "dense", cell.baseline_kernel = "cudnn 9", cell.backend = "cuda";
  const std::string table = format_report({cell}, {.format = "table", .at_recall = 0});
  EXPECT_NE(table.find("speedup: over dense by cudnn 9,"), std::string::npos) << table;
  EXPECT_NE(table.find("p cuda"), std::string::npos) << table;
}

TEST(Progress, Durations) {
  EXPECT_EQ(duration_text(12.4), "12s");
  EXPECT_EQ(duration_text(600), "10m");
  EXPECT_EQ(duration_text(7500), "2h05m");
}

TEST(Worker, NamesSignals) {
  EXPECT_TRUE(signal_text(11).starts_with("SIGSEGV"));
}

}  // namespace
}  // namespace salebench
