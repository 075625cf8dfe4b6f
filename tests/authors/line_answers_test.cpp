// Figures of the authors' own estimators on the bundled capture, read as float32: MInference's vertical-slash,
// FlexPrefill and XAttention. Means over the three heads. And these methods at settings and lengths where they are
// sparse, which their defaults are not on the short problems of methods_test.
#include <gtest/gtest.h>

#include "kernels/cpu/simd.h"
#include "tests/authors/sample.h"
#include "tests/problems.h"

namespace salebench {
namespace {

struct Answer {
  const char* method;
  ParamValues values;
  double density, recall;
};

void PrintTo(const Answer& answer, std::ostream* out) {
  *out << answer.method << " " << param_text(answer.values);
}

class LineAnswers : public testing::TestWithParam<Answer> {};

TEST_P(LineAnswers, AreThoseOfTheAuthorsCode) {
  const Answer& answer = GetParam();
  expect_figures(answer.method, answer.values, answer.density, answer.recall);
}

INSTANTIATE_TEST_SUITE_P(
    At8192, LineAnswers,
    testing::Values(Answer{"vertical_slash", {{"vertical", "100"}, {"slash", "800"}}, 0.8005, 0.9985},
                    Answer{"vertical_slash", {{"vertical", "512"}, {"slash", "2048"}}, 0.9323, 0.9999},
                    Answer{"flexprefill", {{"gamma", "0.9"}, {"tau", "0.1"}}, 0.2350, 0.9160},
                    Answer{"flexprefill", {{"gamma", "0.9"}, {"tau", "0.7"}}, 0.3479, 0.9642},
                    Answer{"xattention", {{"stride", "8"}, {"tau", "0.9"}}, 0.3373, 0.9605},
                    Answer{"xattention", {{"stride", "16"}, {"tau", "0.9"}}, 0.3276, 0.9562},
                    Answer{"xattention", {{"stride", "8"}, {"tau", "0.9"}, {"rule", "shipped"}}, 0.3682, 0.9702},
                    Answer{"xattention", {{"stride", "16"}, {"tau", "0.9"}, {"rule", "shipped"}}, 0.3583, 0.9667}));

/// Mean over the heads of the token density on another layer of the capture.
double early_layer_density(const ParamValues& values) {
  static const ProblemTensors p = Dataset(kSampleCapture).load("layer03_kv0");
  const BlockMask mask = select_mask(p, "xattention", values);
  double sum = 0;
  for (int head = 0; head < p.shape.q_heads; ++head) {
    const MaskCounts counts = count_mask(mask.view(), head);
    sum += double(counts.tokens) / double(counts.dense_tokens);
  }
  return sum / p.shape.q_heads;
}

TEST(Xattention, BothRulesOnAnEarlyLayer) {
  EXPECT_NEAR(early_layer_density({{"tau", "0.9"}, {"rule", "intended"}}), 0.2242, 0.003 * 0.2242);
  EXPECT_NEAR(early_layer_density({{"tau", "0.9"}, {"rule", "shipped"}}), 0.2574, 0.003 * 0.2574);
}

/// Tiles of query blocks [begin, end) that one of the masks keeps and the other does not.
int different_tiles(const BlockMask& a, const BlockMask& b, int begin, int end) {
  const ConstMaskView x = a.view(), y = b.view();
  int different = 0;
  for (int head = 0; head < x.heads; ++head)
    for (int qb = begin; qb < end; ++qb)
      for (int word = 0; word < x.grid.words(); ++word)
        different += std::popcount(x.row(head, qb)[word] ^ y.row(head, qb)[word]);
  return different;
}

TEST(Xattention, ShippedRuleEndsWithTheFirstChunk) {
  const ProblemTensors p = make_problem({1, 1, 16500, 16500, 8});  // two chunks of 8192 tokens and a part of a third
  const BlockMask intended = select_mask(p, "xattention", {{"tau", "0.5"}, {"stride", "64"}});
  const BlockMask shipped = select_mask(p, "xattention", {{"tau", "0.5"}, {"stride", "64"}, {"rule", "shipped"}});
  EXPECT_GT(different_tiles(intended, shipped, 0, 64), 0);
  EXPECT_EQ(different_tiles(intended, shipped, 64, 129), 0);
}

struct Setting {
  const char* method;
  ParamValues values;
};
const std::vector<Setting> kSparse = {{"vertical_slash", {{"vertical", "40"}, {"slash", "150"}}},
                                      {"vertical_slash", {{"vertical", "60"}, {"slash", "20"}, {"last_q", "100"}}},
                                      {"flexprefill", {{"gamma", "0.6"}, {"min_budget", "1"}}},
                                      {"flexprefill", {{"gamma", "0.6"}, {"min_budget", "1"}, {"tau", "1"}}},
                                      {"flexprefill", {{"min_budget", "1"}, {"max_budget", "200"}}},
                                      {"xattention", {{"stride", "4"}, {"tau", "0.7"}}},
                                      {"xattention", {{"stride", "8"}, {"tau", "0.7"}}},
                                      {"xattention", {{"stride", "64"}, {"tau", "0.7"}}},
                                      {"xattention", {{"tau", "0.7"}, {"rule", "shipped"}}}};

/// The first kv_len tokens of the sample, with the last q_len of them as queries.
ProblemTensors sample_chunk(int q_len, int kv_len) {
  ProblemTensors p = apply_view(sample_problem(), {kv_len, 1});
  const std::size_t dim = p.shape.head_dim, skipped = std::size_t(kv_len - q_len) * dim;
  std::vector<float> q;
  for (int head = 0; head < p.shape.q_heads; ++head) {
    const float* const begin = p.view().q_head(head);
    q.insert(q.end(), begin + skipped, begin + std::size_t(kv_len) * dim);
  }
  p.q = q;
  p.shape.q_len = q_len;
  return p;
}

BlockMask plain_mask(const ProblemTensors& p, const Setting& setting) {
  const auto method = make_method(setting.method, setting.values);
  BlockMask mask(grid_of(*method, p.view()), p.shape.q_heads);
  method->select(p.view(), mask.view());
  return mask;
}

int different_tiles(const BlockMask& a, const BlockMask& b) {
  int different = 0;
  for (std::size_t i = 0; i < a.bits().size(); ++i) different += std::popcount(a.bits()[i] ^ b.bits()[i]);
  return different;
}

TEST(SparseLines, FastAndPlainAgreeOnRealTensors) {
  for (const auto& [q_len, kv_len] : {std::pair{2501, 2501}, {700, 2013}}) {
    const ProblemTensors p = sample_chunk(q_len, kv_len);
    for (const Setting& setting : kSparse) {
      const BlockMask plain = plain_mask(p, setting);
      const MaskCounts counts = count_mask(plain.view(), 0);
      EXPECT_LT(counts.tokens, counts.dense_tokens);
      for (const std::string& simd : cpu::simd_names()) {
        SCOPED_TRACE(simd + " " + setting.method + " " + param_text(setting.values) + " " + shape_text(p.shape));
        cpu::set_simd(simd);
        EXPECT_LE(different_tiles(select_mask(p, setting.method, setting.values), plain),
                  3 * counts.causal_tiles / 1000);
      }
    }
  }
  cpu::set_simd("");
}

TEST(SparseLines, KeepOnlyVisibleTilesAndTheDiagonalAroundABlock) {
  for (const int kv_len : {1, 64, 65, 127, 257, 385})
    for (const int q_len : {kv_len, std::max(1, kv_len / 3)}) {
      const ProblemTensors p = make_problem({2, 1, q_len, kv_len, 32});
      for (const Setting& setting : kSparse) {
        SCOPED_TRACE(std::string(setting.method) + " " + param_text(setting.values) + " " + shape_text(p.shape));
        const BlockMask owner = select_mask(p, setting.method, setting.values);
        EXPECT_EQ(different_tiles(owner, plain_mask(p, setting)), 0);
        const ConstMaskView mask = owner.view();
        for (int qb = 0; qb < mask.grid.q_blocks(); ++qb) {
          for (int kb = mask.grid.diagonal_begin(qb); kb < mask.grid.diagonal_end(qb); ++kb)
            EXPECT_TRUE(mask.kept(1, qb, kb)) << "query block " << qb << " key block " << kb;
          for (int kb = mask.grid.causal_end(qb); kb < mask.grid.words() * 32; ++kb)
            EXPECT_FALSE(mask.kept(1, qb, kb)) << "query block " << qb << " key block " << kb;
        }
      }
    }
}

TEST(SparseLines, KeepAllAtTheEndOfTheirKnobs) {
  const ProblemTensors p = sample_chunk(3000, 3000);
  for (const Setting& setting : std::vector<Setting>{{"vertical_slash", {{"scale", "32"}}},
                                                     {"flexprefill", {{"gamma", "1.01"}, {"min_budget", "1"}}},
                                                     {"xattention", {{"tau", "1"}}},
                                                     {"xattention", {{"tau", "1"}, {"rule", "shipped"}}}}) {
    const BlockMask mask = select_mask(p, setting.method, setting.values);
    for (int head = 0; head < 3; ++head)
      EXPECT_EQ(count_mask(mask.view(), head).tokens, mask.view().grid.dense_tokens()) << setting.method;
  }
}

}  // namespace
}  // namespace salebench
