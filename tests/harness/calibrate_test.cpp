// Calibration: the search on synthetic error curves, figures over a part of the rows, the file, and how methods read
// it.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "core/metrics.h"
#include "core/registry.h"
#include "core/status.h"
#include "datasets/calibration_file.h"
#include "datasets/dataset.h"
#include "harness/calibrate/calibrate_score.h"
#include "harness/calibrate/knob_search.h"
#include "harness/plan/calibrated_knob.h"
#include "kernels/cpu/attention.h"
#include "tests/problems.h"

namespace salebench {
namespace {

const KnobRange kThreshold = {0, 1, false, Knob::Trend::keeps_less};
const KnobRange kBudget = {0, 1, false, Knob::Trend::keeps_more};
const KnobRange kWindow = {1, 1 << 20, true, Knob::Trend::keeps_more};

Target rel_l2(double limit) {
  return {"rel_l2", limit};
}

/// Evaluates curves of error and density for each unit, and counts the evaluations.
struct Curves {
  std::function<double(std::size_t unit, double value)> error, density;
  int evaluations = 0;

  EvaluateUnits evaluate() {
    return [this](std::span<const double> values) {
      ++evaluations;
      std::vector<Accuracy> figures(values.size());
      for (std::size_t unit = 0; unit < values.size(); ++unit) {
        const double error_now = error(unit, values[unit]);
        figures[unit].density = density(unit, values[unit]), figures[unit].recall_mean = 1 - error_now;
        figures[unit].rel_l2 = error_now, figures[unit].l1_per_token = 100 * error_now;
      }
      return figures;
    };
  }
};

/// Error grows with the threshold, at another rate for each unit; density falls with its logarithm.
Curves threshold_curves() {
  return {[](std::size_t unit, double value) { return value * double(unit + 1); },
          [](std::size_t, double value) { return value == 0 ? 1 : std::min(1.0, 0.02 - 0.1 * std::log10(value)); }};
}

TEST(KnobSearch, BisectionFindsTheCheapestValueOfEveryUnitAtOnce) {
  Curves curves = threshold_curves();
  UnitSearches searches(kThreshold, {}, 3, curves.evaluate());
  const auto found = searches.run(rel_l2(0.05));
  for (std::size_t unit = 0; unit < 3; ++unit) {
    EXPECT_TRUE(found[unit].reached());
    EXPECT_LT(curves.error(unit, found[unit].value()), 0.05);
    EXPECT_GT(curves.error(unit, found[unit].value() * 1.05), 0.05);
  }
  EXPECT_LE(curves.evaluations, 20);
}

TEST(KnobSearch, ValuesDoNotDependOnTheTargetsSearchedForBefore) {
  Curves curves = threshold_curves(), alone = threshold_curves();
  UnitSearches searches(kThreshold, {}, 2, curves.evaluate());
  searches.run(rel_l2(0.01));
  const int first = curves.evaluations;
  const auto second = searches.run(rel_l2(0.05));
  const auto fresh = UnitSearches(kThreshold, {}, 2, alone.evaluate()).run(rel_l2(0.05));
  for (std::size_t unit = 0; unit < 2; ++unit) {
    EXPECT_EQ(second[unit].value(), fresh[unit].value());
    EXPECT_EQ(second[unit].evaluations(), fresh[unit].evaluations());
  }
  EXPECT_LT(curves.evaluations - first, alone.evaluations);  // the ends are known by then
}

TEST(KnobSearch, EndsOfTheRange) {
  Curves easy{[](std::size_t, double) { return 0.001; }, [](std::size_t, double value) { return 1 - value; }};
  const auto least = UnitSearches(kThreshold, {}, 1, easy.evaluate()).run(rel_l2(0.01));
  EXPECT_TRUE(least[0].reached());
  EXPECT_EQ(least[0].value(), 1);
  EXPECT_EQ(least[0].evaluations(), 1);
  Curves hard{[](std::size_t, double) { return 0.2; }, [](std::size_t, double value) { return 1 - value; }};
  const auto most = UnitSearches(kThreshold, {}, 1, hard.evaluate()).run(rel_l2(0.01));
  EXPECT_FALSE(most[0].reached());
  EXPECT_EQ(most[0].value(), 0);
  Curves broken{[](std::size_t, double) { return std::nan(""); }, [](std::size_t, double value) { return 1 - value; }};
  EXPECT_FALSE(UnitSearches(kThreshold, {}, 1, broken.evaluate()).run(rel_l2(0.01))[0].reached());
}

TEST(KnobSearch, WholeNumbersAreExact) {
  Curves curves{[](std::size_t, double value) { return 1 / value; },
                [](std::size_t, double value) { return value / (1 << 20); }};
  for (const int wanted : {2, 3, 1000, 99999}) {
    SearchSettings settings;
    settings.tolerance = 0, settings.rounds = 100;
    const auto found = UnitSearches(kWindow, settings, 1, curves.evaluate()).run(rel_l2(1.0 / (wanted - 0.5)));
    EXPECT_EQ(found[0].value(), wanted);
  }
}

TEST(KnobSearch, WhatItEndsWithMetTheTargetEvenIfTheErrorWobbles) {
  Curves curves = threshold_curves();
  curves.error = [](std::size_t, double value) { return value * (1 + 0.5 * std::sin(1e3 * value)); };
  for (const char* kind : {"bisection", "paper"}) {
    SearchSettings settings;
    settings.kind = kind, settings.start = 0.5;
    for (const double limit : {0.01, 0.05, 0.2}) {
      const auto found = UnitSearches(kThreshold, settings, 1, curves.evaluate()).run(rel_l2(limit));
      EXPECT_TRUE(found[0].reached());
      EXPECT_LT(curves.error(0, found[0].value()), limit);
    }
  }
}

TEST(KnobSearch, RecallMustReachTheTarget) {
  Curves curves{[](std::size_t, double value) { return 1 - value; }, [](std::size_t, double value) { return value; }};
  const auto found = UnitSearches(kBudget, {}, 1, curves.evaluate()).run({"recall", 0.9});
  EXPECT_GE(found[0].value(), 0.9);
  EXPECT_LT(found[0].value(), 0.92);
}

TEST(KnobSearch, PaperHalvesFromItsStart) {
  SearchSettings settings;
  settings.kind = "paper";
  const auto value_at = [&](double limit) {
    Curves curves = threshold_curves();
    return UnitSearches(kThreshold, settings, 1, curves.evaluate()).run(rel_l2(limit))[0].value();
  };
  EXPECT_EQ(value_at(0.01), 0.008);
  EXPECT_EQ(value_at(0.005), 0.004);
  EXPECT_EQ(value_at(0.004), 0.002);  // an error that equals the target does not meet it
  EXPECT_EQ(value_at(0.00013), 0.000125);
  EXPECT_EQ(value_at(0.0001), 0);  // 6.25e-5 is below 1e-4: a dense head
}

TEST(KnobSearch, BisectionIsNoDenserThanPaper) {
  SearchSettings paper;
  paper.kind = "paper";
  Curves curves = threshold_curves();
  for (const double limit : {0.0005, 0.001, 0.003, 0.01, 0.1}) {
    const auto halved = UnitSearches(kThreshold, paper, 1, curves.evaluate()).run(rel_l2(limit))[0].value();
    const auto bisected = UnitSearches(kThreshold, {}, 1, curves.evaluate()).run(rel_l2(limit))[0].value();
    EXPECT_LE(curves.density(0, bisected), 1.01 * curves.density(0, halved));
  }
}

TEST(KnobSearch, PaperNeedsAKnobThatKeepsLess) {
  SearchSettings settings;
  settings.kind = "paper";
  EXPECT_NO_THROW(check_search(kThreshold, settings));
  EXPECT_THROW(check_search(kBudget, settings), Unsupported);
  settings.start = 2;
  EXPECT_THROW(check_search(kThreshold, settings), Unsupported);
}

TEST(FitRows, SplitInGroupsOf128) {
  const auto members = [](const char* fit, int q_len) { return fit_rows(fit, q_len).count(0, q_len); };
  EXPECT_EQ(members("all", 1000), 1000);
  EXPECT_EQ(members("first_half", 1024), 512);
  EXPECT_EQ(members("first_half", 100), 100);
  EXPECT_EQ(members("even_blocks", 1000), 512);
  EXPECT_FALSE(fit_rows("even_blocks", 1000).contains(128));
  EXPECT_TRUE(fit_rows("even_blocks", 1000).contains(256));
}

TEST(RowSubset, FiguresAreThoseOfTheRowsAlone) {
  const ProblemTensors p = make_problem({2, 1, 300, 333, 32});
  const auto method = make_method("block_topk", {{"budget", "0.5"}});
  BlockMask mask(grid_of(*method, p.view()), 2);
  method->select_fast(p.view(), mask.view());
  AttentionResult result(p.shape);
  cpu::block_sparse_attention(p.view(), mask.view(), result.view());
  const Truth truth = compute_truth(p.view(), sample_rows(300, 0, 1));
  const RowSet rows = fit_rows("even_blocks", 300);
  std::vector<int> listed;
  for (int row = 0; row < 300; ++row)
    if (rows.contains(row)) listed.push_back(row);
  const Truth part = compute_truth(p.view(), listed);
  const auto recall = [&](const Truth& t) { return reference_recall(p.view(), mask.view(), t.rows, t.lse); };
  const ProblemAccuracy subset = measure_accuracy(p.shape, truth, mask.view(), result.output, recall(truth), 0, rows);
  const ProblemAccuracy alone = measure_accuracy(p.shape, part, mask.view(), result.output, recall(part));
  EXPECT_EQ(subset.overall.rel_l2, alone.overall.rel_l2);
  EXPECT_NEAR(subset.overall.recall_mean, alone.overall.recall_mean, 1e-14);
  EXPECT_EQ(subset.heads[1].l1_per_token, alone.heads[1].l1_per_token);
  std::int64_t kept = 0, causal = 0;
  for (const int row : listed)
    for (int key = 0; key <= row + 33; ++key) ++causal, kept += mask.view().kept(1, row / 64, key / 64);
  EXPECT_EQ(subset.heads[1].density, double(kept) / double(causal));
  EXPECT_THROW(measure_accuracy(p.shape, part, mask.view(), result.output, recall(part), 0,
                                RowSet(std::vector<bool>(300, false))),
               std::invalid_argument);
}

class CalibrationFiles : public testing::Test {
 protected:
  void SetUp() override {
    path_ = testing::TempDir() + "calibration.json";
    file_.method = "block_topk", file_.method_version = method_info("block_topk").version, file_.parameter = "budget";
    file_.settings = {{"block", "64x64"}, {"local", "1"}, {"sink", "1"}};
    file_.metric = "rel_l2", file_.target = 0.05;
    file_.scope = "head", file_.search = "bisection", file_.fit = "all";
    file_.values["p"] = {0.1, 1.0 / 3};
    Accuracy first, second;
    first.density = 0.1, first.recall_mean = 0.9, first.rel_l2 = 0.04, first.l1_per_token = 3;
    second.density = 0.2, second.recall_mean = 0.8, second.l1_per_token = 4;
    file_.problems = {{"capture.h5", "p", "f00d", 100, {first, second}, {}}};
  }
  void TearDown() override { std::filesystem::remove(path_); }

  /// Reads the values for `heads` heads, `repeat` copies included.
  std::string read(const std::string& id = "p", int heads = 2, int repeat = 1, const std::string& print = "f00d",
                   const ParamValues& more = {}) {
    write_calibration(path_, file_);
    ParamValues values = more;
    values["budgets"] = path_;
    method_ = make_method("block_topk", values);
    return read_calibrated_knob(*method_, "block_topk", id, print, {heads, 1, 100, 100, 32}, repeat);
  }
  std::vector<double> values() { return method_->all_params()[0].knob()->of_head; }

  std::string path_;
  CalibrationFile file_;
  std::unique_ptr<Method> method_;
};

TEST_F(CalibrationFiles, ComeBackAsWritten) {
  write_calibration(path_, file_);
  const CalibrationFile back = read_calibration(path_);
  EXPECT_EQ(back.values, file_.values);
  EXPECT_EQ(back.settings, file_.settings);
  EXPECT_EQ(back.problems[0].fit[1].l1_per_token, 4);
  EXPECT_TRUE(std::isnan(back.problems[0].fit[1].rel_l2));
  EXPECT_FALSE(back.global);
}

TEST_F(CalibrationFiles, FillTheKnob) {
  EXPECT_EQ(read(), "");
  EXPECT_EQ(values(), (std::vector{0.1, 1.0 / 3}));
  EXPECT_EQ(read("p", 4, 2), "");
  EXPECT_EQ(values(), (std::vector{0.1, 1.0 / 3, 0.1, 1.0 / 3}));
  EXPECT_EQ(read("p", 2, 1, "beef"), "calibrated on other data");
  EXPECT_EQ(read("p", 2, 1, "f00d", {{"sink", "2"}}), "calibrated with sink=1");
  file_.global = true, file_.value = 0.25;
  EXPECT_EQ(read("unknown", 3), "calibrated on other data");
  EXPECT_EQ(values(), std::vector<double>(3, 0.25));
}

TEST_F(CalibrationFiles, ThatDoNotFitAreRefused) {
  EXPECT_THROW(read("q"), DataError);
  EXPECT_THROW(read("p", 3), Unsupported);
  file_.values["p"][0] = 1.5;
  EXPECT_THROW(read(), DataError);
  file_.method_version = 99;
  EXPECT_THROW(read(), Unsupported);
  file_.method = "sale";
  EXPECT_THROW(read(), Unsupported);
  for (const char* text : {"", "{}", "[1]", "{\"format\": \"salebench.calibration\", \"format_version\": 1}"}) {
    std::ofstream(path_) << text;
    EXPECT_THROW(read_calibration(path_), DataError) << text;
  }
  EXPECT_THROW(read_calibration(path_ + ".none"), DataError);
}

}  // namespace
}  // namespace salebench
