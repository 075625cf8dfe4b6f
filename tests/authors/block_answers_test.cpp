// Figures of an independent implementation on the bundled capture, and plain properties, of the static patterns and of
// the methods that score whole blocks of keys.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "methods/shared/budget.h"
#include "tests/authors/sample.h"
#include "tests/problems.h"

namespace salebench {
namespace {

struct Answer {
  const char* method;
  ParamValues values;
  double density, recall;  // means over the three heads
};

// Without it gtest prints bytes.
void PrintTo(const Answer& answer, std::ostream* out) {
  *out << answer.method << " " << param_text(answer.values);
}

class BlockAnswers : public testing::TestWithParam<Answer> {};

TEST_P(BlockAnswers, DensityAndRecall) {
  const Answer& answer = GetParam();
  expect_figures(answer.method, answer.values, answer.density, answer.recall);
}

INSTANTIATE_TEST_SUITE_P(
    Layer17, BlockAnswers,
    testing::Values(Answer{"block_topk", {{"budget", "0.1"}, {"sink", "0"}}, 0.1002, 0.3546},
                    Answer{"block_topk", {{"budget", "0.1"}, {"sink", "0"}, {"pool", "max"}}, 0.10021, 0.16771},
                    Answer{"block_topk", {{"budget", "0.1"}, {"sink", "1"}, {"scope", "global"}}, 0.09313, 0.83946},
                    Answer{"block_topp", {{"top_p", "0.9"}}, 0.31193, 0.95372},
                    Answer{"quest", {{"budget", "0.1"}, {"reduce", "max"}}, 0.09508, 0.45013},
                    Answer{"quest", {{"budget", "0.1"}, {"reduce", "mean"}}, 0.09508, 0.68601},
                    Answer{"moba", {{"topk", "3"}, {"block", "512"}}, 0.28915, 0.54551},
                    Answer{"streaming", {{"sink", "128"}, {"local", "1024"}}, 0.2615, 0.9238},
                    Answer{"a_shape", {}, 0.74997, 0.99167},
                    Answer{"tri_shape", {{"n_local", "1024"}}, 0.28229, 0.92550}));

/// The mask of one of the two selections on a small problem.
BlockMask select_small(const ProblemTensors& p, const std::string& name, const ParamValues& values, bool fast) {
  const auto method = make_method(name, values);
  BlockMask mask(grid_of(*method, p.view()), p.shape.q_heads);
  fast ? method->select_fast(p.view(), mask.view()) : method->select(p.view(), mask.view());
  return mask;
}

TEST(BlockTopk, GlobalBudgetIsSpentOverTheHead) {
  const ProblemTensors p = make_problem({2, 1, 1300, 1300, 64});  // 21 query blocks, 231 causal tiles
  const BlockMask mask =
      select_small(p, "block_topk", {{"scope", "global"}, {"budget", "0.3"}, {"sink", "1"}, {"local", "1"}}, true);
  for (const int head : {0, 1}) EXPECT_EQ(count_mask(mask.view(), head).tiles, 70);  // ceil(0.3 * 231)
}

TEST(Budgets, AreKeptWhereAttentionIsNotCausal) {
  ProblemTensors p = make_problem({1, 1, 1300, 1300, 64});
  p.causal = false;
  const std::vector<std::pair<std::string, ParamValues>> methods = {
      {"block_topk", {{"budget", "0.3"}}},
      {"oracle_topk", {{"budget", "0.3"}, {"local", "2"}}},
      {"quest", {{"budget", "0.3"}}},
      {"random", {{"density", "0.3"}}}};
  for (const auto& [name, values] : methods)
    for (const bool fast : {false, true}) {
      const BlockMask owner = select_small(p, name, values, fast);
      const ConstMaskView mask = owner.view();
      for (int qb = 0; qb < mask.grid.q_blocks(); ++qb) {
        int kept = 0;
        for (int kb = 0; kb < mask.grid.k_blocks(); ++kb) kept += mask.kept(0, qb, kb);
        EXPECT_EQ(kept, budget_blocks(0.3, mask.grid.k_blocks())) << name << " query block " << qb;
        for (int kb = mask.grid.diagonal_begin(qb); kb < mask.grid.diagonal_end(qb); ++kb)
          EXPECT_TRUE(mask.kept(0, qb, kb)) << name << " query block " << qb;
      }
    }
}

TEST(BlockTopp, ForcesNoMoreThanTheDiagonalWhereAttentionIsNotCausal) {
  ProblemTensors p = make_problem({1, 1, 1300, 1300, 64});
  p.causal = false;
  const BlockMask mask = select_small(p, "block_topp", {{"top_p", "0"}}, true);
  for (int qb = 0; qb < 11; ++qb)
    for (int kb = 0; kb < 11; ++kb) EXPECT_EQ(mask.view().kept(0, qb, kb), kb == 0 || kb == qb) << qb << ", " << kb;
}

TEST(Windows, KeepNoTileInWhichNoRowSeesAKey) {
  ProblemTensors p = make_problem({1, 1, 300, 400, 64});
  for (const int sliding : {0, 1, 7, 70, 150})
    for (const char* const sink : {"0", "12", "64", "200"})
      for (const char* const local : {"1", "65"})
        for (const char* const last : {"0", "20", "100", "300"}) {
          SCOPED_TRACE(fmt::format("sliding window {} sink {} local {} last {}", sliding, sink, local, last));
          p.sliding_window = sliding;
          const ParamValues values = {{"n_init", sink}, {"n_local", local}, {"n_last", last}};
          const BlockMask owner = select_small(p, "tri_shape", values, true);
          const ConstMaskView mask = owner.view();
          for (int qb = 0; qb < mask.grid.q_blocks(); ++qb)
            for (int kb = 0; kb < mask.grid.k_blocks(); ++kb)
              EXPECT_EQ(mask.kept(0, qb, kb), mask.grid.tile_tokens(qb, kb) > 0) << qb << ", " << kb;
        }
}

TEST(BlockTopp, OneKeepsAll) {
  const ProblemTensors p = make_problem({1, 1, 1300, 1300, 64});
  const MaskCounts counts = count_mask(select_small(p, "block_topp", {{"top_p", "1"}}, true).view(), 0);
  EXPECT_EQ(counts.tiles, counts.causal_tiles);
}

TEST(Moba, OwnBlockCountsInTopk) {
  const ProblemTensors p = make_problem({2, 1, 500, 700, 64});
  const BlockMask owner = select_small(p, "moba", {{"topk", "3"}, {"block", "64"}}, true);
  const ConstMaskView mask = owner.view();
  for (int row = 0; row < 500; ++row) {
    const int own = (200 + row) / 64;
    int kept = 0;
    for (int kb = 0; kb <= own; ++kb) kept += mask.kept(1, row, kb);
    EXPECT_EQ(kept, std::min(3, own + 1)) << "row " << row;
    EXPECT_TRUE(mask.kept(1, row, own)) << "row " << row;
  }
}

TEST(Quest, MeanBoundIsTheBoundOfTheMean) {
  const ProblemTensors p = make_problem({4, 2, 333, 1297, 80});
  const ParamValues values = {{"reduce", "mean"}, {"page", "24"}};
  const BlockMask plain = select_small(p, "quest", values, false), fast = select_small(p, "quest", values, true);
  EXPECT_TRUE(std::ranges::equal(plain.bits(), fast.bits()));
}

TEST(Random, LargerDensityKeepsASuperset) {
  const ProblemTensors p = make_problem({1, 1, 1300, 1300, 64});
  const BlockMask few = select_small(p, "random", {{"density", "0.2"}}, true);
  const BlockMask many = select_small(p, "random", {{"density", "0.5"}}, true);
  for (std::size_t i = 0; i < few.bits().size(); ++i) EXPECT_EQ(few.bits()[i] & ~many.bits()[i], 0u);
}

}  // namespace
}  // namespace salebench
