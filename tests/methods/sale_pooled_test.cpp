// Invariants of SALE's cheaper scans.
#include <gtest/gtest.h>

#include "core/reference.h"
#include "kernels/cpu/simd.h"
#include "tests/masks.h"
#include "tests/problems.h"

namespace salebench {
namespace {

const Shape kShape{2, 1, 1500, 1500, 64};
const ParamValues kNothingReduced = {{"row_pool", "1"}, {"key_pool", "1"}, {"score", "max"}};

ParamValues with(ParamValues values, const ParamValues& more) {
  for (const auto& [name, value] : more) values[name] = value;
  return values;
}

TEST(SalePooled, WithNothingReducedIsSaleWithExactLogits) {
  for (const Shape& shape : {kShape, Shape{3, 1, 300, 1999, 128}, Shape{2, 2, 1111, 1111, 80}})
    for (const std::string& block : kBlockChoices)
      for (const char* threshold : {"0.002", "0.03"}) {
        const ProblemTensors p = make_problem(shape);
        const ParamValues values = {{"threshold", threshold}, {"block", block}};
        const BlockMask sale = select("sale", p, with(values, {{"bits", "16"}}));
        const BlockMask pooled = select("sale_pooled", p, with(values, kNothingReduced));
        EXPECT_LE(difference(sale, pooled), tiles(sale) / 1000)
            << shape_text(shape) << " " << block << " " << threshold;
      }
}

TEST(SalePooled, FastSelectionIsThePlainOne) {
  const std::vector<ParamValues> options = {
      {{"score", "max"}},
      {{"row_pool", "8"}, {"key_pool", "8"}, {"row_stride", "4"}, {"block", "64x32"}},
      {{"row_pool", "1"}, {"key_pool", "1"}, {"block", "128x128"}},
      {{"row_pool", "2"}, {"key_pool", "4"}, {"row_stride", "2"}, {"precision", "fp8"}, {"channels", "1/2"}},
      {{"score", "max"}, {"precision", "8"}, {"channels", "1/4"}, {"block", "64x64"}, {"key_pool", "1"}},
      {{"score", "max"}, {"row_pool", "8"}, {"row_stride", "4"}, {"channels", "1/8"}, {"block", "128x64"}}};
  struct Case {
    Shape shape;
    int sliding_window = 0;
  };
  // In the last, row blocks have no middle and end in the last key block, which is not full.
  for (const auto& [shape, sliding_window] :
       {Case{{1, 1, 1300, 1300, 64}}, Case{{3, 1, 201, 1501, 80}}, Case{{1, 1, 1, 1400, 64}},
        Case{{1, 1, 1300, 1300, 64}, 300}, Case{{1, 1, 200, 1499, 64}, 50}})
    for (const ParamValues& option : options) {
      ProblemTensors p = make_problem(shape);
      p.sliding_window = sliding_window;
      const ParamValues values = with(option, {{"threshold", "0.003"}});
      const BlockMask plain = select("sale_pooled", p, values, false);
      for (const std::string& simd : cpu::simd_names()) {
        cpu::set_simd(simd);
        EXPECT_LE(difference(plain, select("sale_pooled", p, values)), tiles(plain) / 1000)
            << simd << " " << shape_text(shape) << " " << param_text(values);
      }
    }
  cpu::set_simd("");
}

TEST(SalePooled, EachHeadScansAsItAloneWould) {
  const ProblemTensors p = make_problem({4, 2, 1300, 1400, 64});
  const std::vector<ParamValues> scans = {{{"row_pool", "1"}, {"key_pool", "1"}, {"score", "max"}},
                                          {{"row_pool", "8"}, {"key_pool", "4"}},
                                          {{"row_stride", "2"}, {"precision", "fp8"}},
                                          {{"channels", "1/2"}, {"precision", "8"}}};
  const auto mixed = make_method("sale_pooled", {{"threshold", "0.003"}});
  for (const ParamValues& scan : scans)
    for (const auto& [name, value] : scan)
      EXPECT_TRUE(std::ranges::count(mixed->head_params(), name)) << name << " can't be chosen by a head";
  mixed->set_head_settings(scans);
  for (const bool fast : {false, true}) {
    BlockMask mask(grid_of(*mixed, p.view()), 4);
    fast ? mixed->select_fast(p.view(), mask.view()) : mixed->select(p.view(), mask.view());
    const std::size_t words = mask.bits().size() / 4;
    for (std::size_t head = 0; head < 4; ++head) {
      const BlockMask alone = select("sale_pooled", p, with(scans[head], {{"threshold", "0.003"}}), fast);
      EXPECT_TRUE(
          std::ranges::equal(mask.bits().subspan(head * words, words), alone.bits().subspan(head * words, words)))
          << "head " << head << (fast ? ", fast" : "");
    }
  }
  EXPECT_THROW(mixed->set_head_settings({{{"threshold", "0.1"}, {"rows", "2"}}}), ParamError);
}

TEST(SalePooled, SharesOfScans) {
  const auto share = [](const ParamValues& values) { return make_method("sale_pooled", values)->selection_share(); };
  EXPECT_EQ(share({{"row_pool", "1"}, {"key_pool", "1"}}), 0.5);  // Q K^T is half of dense attention
  EXPECT_EQ(share({{"row_pool", "4"}, {"key_pool", "2"}, {"precision", "8"}}), 0.25 / 8);
  EXPECT_EQ(share({{"row_pool", "1"}, {"key_pool", "1"}, {"row_stride", "2"}, {"channels", "1/4"}}), 0.5 / 8);
}

TEST(SalePooled, SkippedTilesHaveLessMassThanTheThreshold) {
  // With nothing reduced the relative mass is at least the true one, since the row's full sum is larger.
  const ProblemTensors p = make_problem({2, 1, 1400, 1400, 64});
  const BlockMask owner = select("sale_pooled", p, with(kNothingReduced, {{"score", "mass"}, {"threshold", "0.02"}}));
  const ConstMaskView mask = owner.view();
  const auto mass = reference_block_mass(p.view(), reference_attention(p.view()).lse, mask.grid);
  double worst = 0;
  for (int head = 0; head < 2; ++head)
    for (int qb = 0; qb < mask.grid.q_blocks(); ++qb)
      for (int kb = 0; kb < mask.grid.causal_end(qb); ++kb)
        if (!mask.kept(head, qb, kb))
          worst = std::max(worst, mass[(std::size_t(head) * mask.grid.q_blocks() + qb) * mask.grid.k_blocks() + kb]);
  EXPECT_GT(worst, 0.001);
  EXPECT_LT(worst, 0.02 * (1 + 1e-4));
}

TEST(SalePooled, EqualKeysLoseNothingByPooling) {
  // A pooled key stands for as many keys as it is the mean of, in the mass too.
  ProblemTensors p = make_problem(kShape);
  for (std::size_t key = 0; key < 1500; ++key) std::copy_n(&p.k[key / 4 * 4 * 64], 64, &p.k[key * 64]);
  for (const char* score : {"max", "mass"}) {
    const ParamValues values = {{"score", score}, {"row_pool", "1"}, {"threshold", "0.01"}};
    const BlockMask all = select("sale_pooled", p, with(values, {{"key_pool", "1"}}));
    for (const char* pool : {"2", "4"}) {
      const BlockMask pooled = select("sale_pooled", p, with(values, {{"key_pool", pool}}));
      EXPECT_LE(difference(all, pooled), tiles(all) / 1000) << score << " " << pool;
    }
    EXPECT_GT(tiles(all), 100);
  }
}

TEST(SalePooled, AStrideSeesASubsetOfTheRows) {
  const ProblemTensors p = make_problem(kShape);
  const ParamValues values = with(kNothingReduced, {{"threshold", "0.01"}});
  const BlockMask all = select("sale_pooled", p, values);
  for (const char* stride : {"2", "4"}) {
    const BlockMask fewer = select("sale_pooled", p, with(values, {{"row_stride", stride}}));
    for (std::size_t i = 0; i < all.bits().size(); ++i) EXPECT_EQ(fewer.bits()[i] & ~all.bits()[i], 0u);
    EXPECT_LT(tiles(fewer), tiles(all));
  }
}

TEST(SalePooled, EqualQueriesAndKeysAreNoTrouble) {
  ProblemTensors p = make_problem(kShape);
  std::fill(p.q.begin(), p.q.end(), 0.5f);
  std::fill(p.k.begin(), p.k.end(), 0.25f);
  for (const char* channels : {"all", "1/4"})
    for (const char* precision : {"exact", "fp8", "8"}) {
      const ParamValues values = {{"channels", channels}, {"precision", precision}, {"threshold", "0.05"}};
      EXPECT_EQ(tiles(select("sale_pooled", p, values)), tiles(select("sale_pooled", p, values, false)));
    }
  std::fill(p.q.begin(), p.q.end(), 0.0f);
  EXPECT_GT(tiles(select("sale_pooled", p, {{"channels", "1/2"}})), 0);
}

}  // namespace
}  // namespace salebench
