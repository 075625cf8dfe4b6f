// Figures of an independent implementation on the bundled capture: SALE (mode 3) and oracle top-k, on each instruction
// set.
#include <gtest/gtest.h>

#include <array>

#include "kernels/cpu/simd.h"
#include "tests/authors/sample.h"

namespace salebench {
namespace {

class KnownAnswers : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { cpu::set_simd(GetParam()); }
  void TearDown() override { cpu::set_simd(""); }
};

void expect_tiles(const BlockMask& mask, const std::array<int, 3>& expected, double tolerance) {
  for (int head = 0; head < 3; ++head) {
    const auto tiles = double(count_mask(mask.view(), head).tiles);
    EXPECT_NEAR(tiles, expected[head], tolerance * expected[head]) << "head " << head;
  }
}

TEST_P(KnownAnswers, SaleInt4At8192) {
  const BlockMask mask = select_mask(sample_problem(), "sale", {{"threshold", "0.004"}});
  EXPECT_EQ(count_mask(mask.view(), 0).causal_tiles, 16512);
  expect_tiles(mask, {16359, 7305, 5532}, 0.002);
  const ProblemAccuracy a = sample_accuracy(mask);
  constexpr double kDensity[] = {0.9907, 0.4381, 0.3299}, kRecall[] = {0.99994, 0.99664, 0.99656};
  constexpr double kError[] = {0.00029, 0.00948, 0.00609};
  for (int head = 0; head < 3; ++head) {
    EXPECT_NEAR(a.heads[head].density, kDensity[head], 0.002 * kDensity[head]) << "head " << head;
    EXPECT_NEAR(a.heads[head].recall_mean, kRecall[head], 1e-4) << "head " << head;
    EXPECT_NEAR(a.heads[head].rel_l2, kError[head], 0.02 * kError[head]) << "head " << head;
  }
}

TEST_P(KnownAnswers, SaleExactLogitsAt8192) {
  expect_tiles(select_mask(sample_problem(), "sale", {{"threshold", "0.004"}, {"bits", "16"}}), {16318, 6749, 5059},
               0.002);
}

TEST_P(KnownAnswers, SaleInt4At4000) {
  const ProblemTensors prefix = apply_view(sample_problem(), {4000, 1});
  const BlockMask mask = select_mask(prefix, "sale", {{"threshold", "0.004"}});
  EXPECT_EQ(count_mask(mask.view(), 0).causal_tiles, 4031);
  expect_tiles(mask, {4031, 2480, 2175}, 0.002);
}

TEST_P(KnownAnswers, OracleTopk) {
  const BlockMask mask = select_mask(sample_problem(), "oracle_topk", {{"budget", "0.1"}, {"block", "64x32"}});
  const ProblemAccuracy a = sample_accuracy(mask);
  constexpr double kRecall[] = {0.65754, 0.94332, 0.93323};
  for (int head = 0; head < 3; ++head) {
    EXPECT_EQ(count_mask(mask.view(), head).tiles, 1703);
    EXPECT_NEAR(a.heads[head].recall_mean, kRecall[head], 1e-4) << "head " << head;
  }
}

/// Under sanitizers the fastest alone: figures take minutes there, and kernels_test has all sets touch memory.
std::vector<std::string> instruction_sets() {
  std::vector<std::string> names = cpu::simd_names();
#if defined(__SANITIZE_ADDRESS__)
  names.resize(1);
#endif
  return names;
}

INSTANTIATE_TEST_SUITE_P(Simd, KnownAnswers, testing::ValuesIn(instruction_sets()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace salebench
