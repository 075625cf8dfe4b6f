// Figures of the authors' own code on the bundled capture, and what the skipping kernel promises.
#include <gtest/gtest.h>

#include "core/reference.h"
#include "tests/problems.h"
#include "tests/sample.h"

namespace salebench {
namespace {

/// Mean over heads of density and recall, against the authors' masks.
void expect_figures(const std::string& name, const ParamValues& values, double density, double recall) {
  const ProblemAccuracy a = sample_accuracy(select_mask(sample_problem(), name, values));
  double mean_density = 0, mean_recall = 0;
  for (const Accuracy& head : a.heads) {
    mean_density += head.density / double(a.heads.size());
    mean_recall += head.recall_mean / double(a.heads.size());
  }
  EXPECT_NEAR(mean_density, density, 0.003 * density);
  EXPECT_NEAR(mean_recall, recall, 5e-4);
}

TEST(TileAnswers, SpargeCdf) {
  expect_figures("sparge", {{"mode", "cdf"}, {"simthreshd1", "0.1"}, {"budget", "0.9"}}, 0.2544, 0.5573);
}

TEST(TileAnswers, SpargeTopk) {
  expect_figures("sparge", {{"mode", "topk"}, {"simthreshd1", "-0.1"}, {"budget", "0.5"}}, 0.7423, 0.9116);
}

TEST(TileAnswers, FlashPrefill) {
  expect_figures("flashprefill", {{"alpha", "0.18"}}, 0.3318, 0.9450);
}

TEST(TileAnswers, Anchor) {
  expect_figures("anchor", {{"theta", "12"}}, 0.3054, 0.9262);
}

}  // namespace
}  // namespace salebench
