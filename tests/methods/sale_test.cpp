// Invariants of SALE.
#include <gtest/gtest.h>

#include "core/reference.h"
#include "tests/masks.h"
#include "tests/problems.h"

namespace salebench {
namespace {

BlockMask select(const ProblemTensors& p, const ParamValues& values, bool fast = true) {
  return select("sale", p, values, fast);
}

const std::vector<std::string> kBits = {"4", "8", "16"};
const Shape kShape{2, 1, 1500, 1500, 64};

TEST(Sale, SinkAndLocalAreAlwaysKept) {
  const ProblemTensors p = make_problem(kShape);
  for (const int local : {3, 4, 8}) {
    const BlockMask owner = select(p, {{"threshold", "1"}, {"local_blocks", std::to_string(local)}});
    const ConstMaskView mask = owner.view();
    for (int qb = 0; qb < mask.grid.q_blocks(); ++qb) {
      const int end = mask.grid.causal_end(qb);
      EXPECT_TRUE(mask.kept(0, qb, 0));
      for (int kb = std::max(0, end - local); kb < end; ++kb) EXPECT_TRUE(mask.kept(0, qb, kb)) << qb << " " << kb;
    }
  }
}

TEST(Sale, LocalBlockCountsOfFullRows) {
  // With a threshold of 1 hardly any middle tile is kept: 5 local blocks for even query blocks, 7 for odd ones, and the
  // sink (section 4.1: 160 and 224 keys).
  ProblemTensors p = make_problem({1, 1, 2048, 2048, 64}, 7, false);
  for (float& q : p.q) q = 0;  // every key has the same weight, so none reaches 1
  const BlockMask owner = select(p, {{"threshold", "1"}, {"bits", "16"}});
  for (int qb = 8; qb < 32; ++qb) {
    int kept = 0;
    for (int kb = 0; kb < 2 * (qb + 1); ++kb) kept += owner.view().kept(0, qb, kb);
    EXPECT_EQ(kept, 1 + (qb % 2 ? 7 : 5)) << "query block " << qb;
  }
}

TEST(Sale, MaskShrinksAsTheThresholdGrows) {
  const ProblemTensors p = make_problem(kShape);
  for (const std::string& bits : kBits) {
    BlockMask last = select(p, {{"threshold", "0"}, {"bits", bits}});
    for (const char* threshold : {"0.0001", "0.001", "0.01", "0.1", "1"}) {
      BlockMask next = select(p, {{"threshold", threshold}, {"bits", bits}});
      EXPECT_TRUE(contains(last, next)) << threshold << " bits " << bits;
      last = std::move(next);
    }
  }
}

TEST(Sale, ThresholdZeroAndShortInputsAreDense) {
  for (const auto& [shape, threshold] : {std::pair{kShape, "0"}, {Shape{1, 1, 1024, 1024, 64}, "0.5"}}) {
    const BlockMask mask = select(make_problem(shape), {{"threshold", threshold}});
    const MaskCounts counts = count_mask(mask.view(), 0);
    EXPECT_EQ(counts.tiles, counts.causal_tiles);
    EXPECT_NE(make_method("sale", {{"threshold", threshold}})->remark(shape), "");
  }
  EXPECT_EQ(make_method("sale")->remark(kShape), "");
}

TEST(Sale, AConstantAddedToKChangesNothing) {
  ProblemTensors p = make_problem(kShape);
  // Multiples of 1/64 with few digits, so that adding a constant is exact.
  for (auto* values : {&p.q, &p.k})
    for (float& x : *values) x = std::round(x * 64) / 64;
  ProblemTensors shifted = p;
  for (std::size_t i = 0; i < shifted.k.size(); ++i) shifted.k[i] += float(i % 64) - 20;
  for (const std::string& bits : kBits) {
    const BlockMask a = select(p, {{"bits", bits}}), b = select(shifted, {{"bits", bits}});
    int different = 0;
    for (std::size_t i = 0; i < a.bits().size(); ++i) different += std::popcount(a.bits()[i] ^ b.bits()[i]);
    EXPECT_LE(different, tiles(a) / 1000) << "bits " << bits;
  }
}

TEST(Sale, SkippedEntriesHaveLessProbabilityThanTheThreshold) {
  // With exact logits the relative attention score is at least the true probability, since the row's full sum is
  // larger.
  const ProblemTensors p = make_problem({1, 1, 1400, 1400, 64});
  const HostProblem view = p.view();
  const double threshold = 0.003;
  const BlockMask owner = select(p, {{"threshold", "0.003"}, {"bits", "16"}});
  const ConstMaskView mask = owner.view();
  const auto lse = reference_attention(view).lse;
  double worst = 0;
  for (int row = 0; row < 1400; ++row)
    for (int key = 0; key <= row; ++key) {
      if (mask.kept(0, row / 64, key / 32)) continue;
      double dot = 0;
      for (int d = 0; d < 64; ++d) dot += double(p.q[std::size_t(row) * 64 + d]) * p.k[std::size_t(key) * 64 + d];
      worst = std::max(worst, std::exp(p.scale * dot - lse[row]));
    }
  EXPECT_GT(worst, 0);
  EXPECT_LT(worst, threshold * (1 + 1e-4));
}

TEST(Sale, IntegerScanEqualsTheElementWiseRule) {
  // The scan compares integer sums with thresholds in key-scale units; the definition compares estimated logits.
  for (const Shape& shape :
       {kShape, Shape{3, 1, 300, 1999, 128}, Shape{2, 2, 1111, 1111, 80}, Shape{1, 1, 1200, 1200, 33}})
    for (const std::string& bits : kBits)
      for (const char* smooth : {"qk", "k", "none"}) {
        const ProblemTensors p = make_problem(shape);
        const ParamValues values = {{"bits", bits}, {"smooth", smooth}, {"threshold", "0.002"}};
        const BlockMask plain = select(p, values, false), fast = select(p, values, true);
        int different = 0;
        for (std::size_t i = 0; i < plain.bits().size(); ++i)
          different += std::popcount(plain.bits()[i] ^ fast.bits()[i]);
        EXPECT_LE(different, tiles(plain) / 1000) << shape_text(shape) << " bits " << bits << " smooth " << smooth;
      }
}

TEST(Sale, EqualQueriesAndKeysDoNotDivideByZero) {
  ProblemTensors p = make_problem(kShape);
  std::fill(p.q.begin(), p.q.end(), 0.5f);
  std::fill(p.k.begin(), p.k.begin() + 700 * 64, 0.25f);
  for (const char* smooth : {"qk", "k", "none"}) {
    const BlockMask plain = select(p, {{"smooth", smooth}}, false), fast = select(p, {{"smooth", smooth}}, true);
    EXPECT_GT(tiles(fast), 0);
    EXPECT_NEAR(double(tiles(fast)), double(tiles(plain)), 0.001 * double(tiles(plain)));
  }
  std::fill(p.k.begin(), p.k.end(), 0.0f);
  EXPECT_GT(tiles(select(p, {})), 0);
}

TEST(Sale, NonCausalProblemsAreUnsupported) {
  EXPECT_THROW(make_method("sale")->check(kShape, false), Unsupported);
}

}  // namespace
}  // namespace salebench
