// SpargeAttn, BLASST, FlashPrefill and AnchorAttention: figures of the authors' own code on the bundled capture, what
// the skipping kernel promises, and masks whose answer is known.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>

#include "core/reference.h"
#include "kernels/cpu/simd.h"
#include "tests/authors/sample.h"
#include "tests/problems.h"

namespace salebench {
namespace {

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

TEST(TileAnswers, AnchorAsTheModelsRunIt) {
  expect_figures("anchor", {{"theta", "12"}, {"rule", "shipped"}}, 0.6316, 0.9376);
  expect_figures("anchor", {{"theta", "20"}, {"rule", "shipped"}}, 0.9073, 0.9818);
}

const Shape kShape = {2, 1, 300, 601, 64};

/// Attention of a method over a mask that it is given.
AttentionResult attended(const ProblemTensors& p, const std::string& name, const ParamValues& values,
                         const BlockMask& mask) {
  AttentionResult result(p.shape);
  make_method(name, values)->attend(p.view(), mask.view(), result.view());
  return result;
}

/// Calls check() on every instruction set.
template <class Check>
void on_all_simd(const Check& check) {
  for (const std::string& simd : cpu::simd_names()) {
    SCOPED_TRACE(simd);
    cpu::set_simd(simd);
    check();
  }
  cpu::set_simd("");
}

TEST(Blasst, AttentionSkipsWhatThePlainRuleSkips) {
  const ProblemTensors p = make_problem(kShape);
  for (const char* const order : {"ascending", "descending"})
    for (const char* const scale : {"0", "20", "200", "20000"})
      for (const char* const block : {"64x32", "128x128"}) {
        const ParamValues values = {{"order", order}, {"scale", scale}, {"block", block}};
        SCOPED_TRACE(param_text(values));
        const auto method = make_method("blasst", values);
        BlockMask plain(grid_of(*method, p.view()), p.shape.q_heads);
        method->select(p.view(), plain.view());
        const ConstMaskView mask = plain.view();
        const ReferenceResult exact = reference_attention(p.view(), &mask);
        const BlockMask none(mask.grid, mask.heads);  // attend() must not look at the mask it is given
        on_all_simd([&] {
          const AttentionResult result = attended(p, "blasst", values, none);
          EXPECT_LE(relative_l2(result.output, exact.output), 1e-5);
          EXPECT_LE(relative_l2(result.lse, exact.lse), 1e-5);
        });
      }
}

TEST(Blasst, DescendingOrderKeepsTheDiagonal) {
  const ProblemTensors p = make_problem(kShape);
  const BlockMask owner = select_mask(p, "blasst", {{"order", "descending"}, {"scale", "100000"}, {"block", "64x32"}});
  const ConstMaskView mask = owner.view();
  for (int head = 0; head < mask.heads; ++head)
    for (int row = 0; row < p.shape.q_len; ++row)
      EXPECT_TRUE(mask.kept(head, row / 64, mask.grid.position(row) / 32)) << "head " << head << " row " << row;
}

/// The tiles of 32 rows that SpargeAttn's second stage computes of a mask of 128 x 64 tiles, from its formula.
BlockMask second_stage(const ProblemTensors& p, ConstMaskView mask, double pv_threshold) {
  BlockMask computed({{32, mask.grid.block.k}, p.shape.q_len, p.shape.kv_len, p.causal, std::nullopt}, mask.heads);
  const HostProblem view = p.view();
  const int dim = p.shape.head_dim;
  for (int head = 0; head < mask.heads; ++head)
    for (int group = 0; group < computed.view().grid.q_blocks(); ++group) {
      std::vector<int> listed;
      for (int kb = 0; kb < mask.grid.causal_end(group / 4); ++kb)
        if (mask.kept(head, group / 4, kb)) listed.push_back(kb);
      std::vector<double> running(32, -std::numeric_limits<double>::infinity());
      for (std::size_t i = 0; i < listed.size(); ++i) {
        double difference = -std::numeric_limits<double>::infinity();
        for (int row = 32 * group; row < std::min(p.shape.q_len, 32 * group + 32); ++row) {
          double most = -std::numeric_limits<double>::infinity();
          for (int key = mask.grid.k_begin(listed[i]); key < std::min(mask.grid.k_end(listed[i]), view.key_end(row));
               ++key) {
            double dot = 0;
            for (int d = 0; d < dim; ++d)
              dot +=
                  double(view.q_head(head)[std::size_t(row) * dim + d]) * view.k_of(head)[std::size_t(key) * dim + d];
            most = std::max(most, dot * p.scale * std::numbers::log2e);
          }
          double& m = running[row % 32];
          if (!std::isinf(most)) difference = std::max(difference, most - m);
          m = std::max(m, most);
        }
        const bool sees = listed[i] < computed.view().grid.causal_end(group);
        if (sees && (difference + pv_threshold > 0 || i + 2 >= listed.size()))
          computed.view().keep(head, group, listed[i]);
      }
    }
  return computed;
}

TEST(Sparge, SecondStageSkipsTilesByGroupsOf32Rows) {
  const ProblemTensors p = make_problem(kShape);
  const BlockMask mask = select_mask(p, "sparge", {});
  std::int64_t before = 0;
  for (const double threshold : {0.0, 1.0, 3.0, 6.0}) {
    SCOPED_TRACE(threshold);
    const BlockMask computed = second_stage(p, mask.view(), threshold);
    const ConstMaskView view = computed.view();
    const std::int64_t tokens = count_mask(view, 0).tokens;
    EXPECT_GT(tokens, before) << "this threshold shows nothing";
    before = tokens;
    const ReferenceResult exact = reference_attention(p.view(), &view);
    on_all_simd([&] {
      const AttentionResult result = attended(p, "sparge", {{"pv_threshold", std::to_string(threshold)}}, mask);
      EXPECT_LE(relative_l2(result.output, exact.output), 1e-5);
    });
  }
}

TEST(Sparge, SimilarityDecidesWhatIsPooled) {
  const ProblemTensors p = make_problem(kShape);
  const auto causal_tiles = [&](const ParamValues& values, int head) {
    const MaskCounts counts = count_mask(select_mask(p, "sparge", values).view(), head);
    return std::pair(counts.tiles, counts.causal_tiles);
  };
  const auto [none, all] = causal_tiles({{"simthreshd1", "1"}}, 0);  // no block is alike: everything is kept
  EXPECT_EQ(none, all);
  EXPECT_LT(causal_tiles({{"simthreshd1", "-1"}, {"budget", "0.1"}}, 0).first, all);
}

TEST(TileMethods, KeepEverythingAtTheirEnd) {
  const ProblemTensors p = make_problem({2, 1, 2200, 3000, 64});
  const std::vector<std::pair<std::string, ParamValues>> ends = {{"sparge", {{"budget", "1"}}},
                                                                 {"blasst", {{"scale", "0"}}},
                                                                 {"flashprefill", {{"alpha", "0"}}},
                                                                 {"anchor", {{"theta", "100"}}}};
  for (const auto& [name, values] : ends) {
    const BlockMask mask = select_mask(p, name, values);
    EXPECT_EQ(count_mask(mask.view(), 0).tokens, count_mask(mask.view(), 0).dense_tokens) << name;
  }
}

TEST(FlashPrefill, KeepsSinkWindowAndTheLastQueryBlocks) {
  const ProblemTensors p = make_problem({1, 1, 2000, 2000, 64});
  const BlockMask owner = select_mask(p, "flashprefill", {{"alpha", "1"}});
  const ConstMaskView mask = owner.view();
  for (int qb = 0; qb < 16; ++qb) {
    int others = 0;
    for (int kb = 0; kb <= qb; ++kb) {
      const bool forced = kb < 2 || kb > qb - 4 || qb >= 14;
      EXPECT_TRUE(!forced || mask.kept(0, qb, kb)) << qb << ", " << kb;
      others += !forced && mask.kept(0, qb, kb);
    }
    EXPECT_LE(others, 1) << "alpha 1 keeps the largest tile alone, query block " << qb;
  }
}

TEST(Anchor, SharesColumnsBetweenTheFirstBlockAndTheBlockBefore) {
  const ProblemTensors p = make_problem({1, 1, 4500, 4500, 64});
  const BlockMask owner = select_mask(p, "anchor", {{"theta", "4"}});
  const ConstMaskView mask = owner.view();
  int shared = 0;
  for (int qb = 0; qb < mask.grid.q_blocks(); ++qb) {
    const int start = qb / 16 * 2048;
    for (int key = 0; key < mask.grid.causal_end(qb); ++key) {
      const bool exact = start == 4096 || key < 128 || key >= start - 128;
      ASSERT_EQ(mask.kept(0, qb, key), exact || mask.kept(0, 16, key)) << qb << ", " << key;
      shared += !exact && mask.kept(0, qb, key);
    }
  }
  EXPECT_GT(shared, 0);
  EXPECT_LT(shared, 16 * (2048 - 256));
}

TEST(Anchor, ShippedRuleLeavesOutTheBlockBeforeTheSuperBlock) {
  const ProblemTensors p = make_problem({1, 1, 6300, 6300, 64});
  const BlockMask owner = select_mask(p, "anchor", {{"theta", "100"}, {"rule", "shipped"}});
  const ConstMaskView mask = owner.view();
  for (int qb = 0; qb < mask.grid.q_blocks(); ++qb) {
    const int start = qb / 16 * 2048;
    for (int key = 0; key < mask.grid.causal_end(qb); ++key) {
      const bool left_out = start == 4096 && key >= start - 128 && key < start;
      ASSERT_EQ(mask.kept(0, qb, key), !left_out) << qb << ", " << key;
    }
  }
}

}  // namespace
}  // namespace salebench
