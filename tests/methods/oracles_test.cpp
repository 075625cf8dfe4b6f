// The oracles against their definitions, and that no row of theirs is empty.
#include <gtest/gtest.h>

#include "core/reference.h"
#include "core/registry.h"
#include "methods/shared/true_attention.h"
#include "tests/problems.h"

namespace salebench {
namespace {

BlockMask selected(const ProblemTensors& p, const std::string& name, const ParamValues& values) {
  const auto method = make_method(name, values);
  BlockMask mask(grid_of(*method, p.view()), p.shape.q_heads);
  method->select_fast(p.view(), mask.view());
  return mask;
}

/// Log-sum-exp over the kept keys: -inf for a row that keeps none.
std::vector<float> kept_lse(const ProblemTensors& p, const BlockMask& mask) {
  std::vector<float> lse(std::size_t(p.shape.q_heads) * p.shape.q_len);
  cpu::block_sparse_attention(p.view(), mask.view(), {{}, lse});
  return lse;
}

/// Mean over all rows of the true probability that the mask keeps, head 0.
double recall(const ProblemTensors& p, const BlockMask& mask) {
  const std::vector<float> kept = kept_lse(p, mask), exact = fast_lse(p.view());
  double sum = 0;
  for (int row = 0; row < p.shape.q_len; ++row) sum += std::exp(double(kept[row]) - exact[row]);
  return sum / p.shape.q_len;
}

TEST(Oracles, LeaveNoRowEmpty) {
  // The keys of the second half of each 64 outweigh all else, so the heaviest tile is often the last on the diagonal.
  ProblemTensors p = make_problem({2, 1, 700, 900, 64});
  for (int key = 0; key < 900; ++key)
    if (key % 64 < 32) p.k[std::size_t(key) * 64] -= 12;
  for (const auto& [name, knob] : {std::pair("oracle_topp", "top_p"), std::pair("oracle_global", "budget")})
    for (const char* value : {"0", "0.001", "0.3"})
      EXPECT_TRUE(std::ranges::all_of(kept_lse(p, selected(p, name, {{knob, value}})),
                                      [](float lse) { return std::isfinite(lse); }))
          << name << " " << value;
  for (const char* by : {"mass", "max"})
    for (const char* value : {"1", "0.5", "0.01"})
      EXPECT_TRUE(std::ranges::all_of(kept_lse(p, selected(p, "oracle_threshold", {{"threshold", value}, {"by", by}})),
                                      [](float lse) { return std::isfinite(lse); }))
          << by << " " << value;
}

TEST(Oracles, AreDenseAtTheEndThatKeepsMost) {
  const ProblemTensors p = make_problem({2, 1, 700, 900, 64});
  for (const auto& [name, knob, value] :
       {std::tuple("oracle_topp", "top_p", "1"), std::tuple("oracle_global", "budget", "1"),
        std::tuple("oracle_threshold", "threshold", "0")}) {
    const MaskCounts counts = count_mask(selected(p, name, {{knob, value}}).view(), 1);
    EXPECT_EQ(counts.tokens, counts.dense_tokens) << name;
  }
}

TEST(Oracles, ToppKeepsTheFewestTilesThatReachTheMass) {
  const ProblemTensors p = make_problem({1, 1, 640, 640, 64});
  const BlockMask owner = selected(p, "oracle_topp", {{"top_p", "0.8"}, {"block", "64x64"}});
  const ConstMaskView mask = owner.view();
  const std::vector<float> mass = true_mass(p.view(), mask.grid);
  for (int qb = 0; qb < mask.grid.q_blocks(); ++qb) {
    double kept = 0, lightest = 1, heaviest_left = 0;
    for (int kb = 0; kb < mask.grid.causal_end(qb); ++kb) {
      const double tile = causal_tiles(mass, mask.grid, 0, qb)[kb];
      if (mask.kept(0, qb, kb))
        kept += tile, lightest = std::min(lightest, tile);
      else
        heaviest_left = std::max(heaviest_left, tile);
    }
    EXPECT_GE(kept, 0.8) << qb;
    EXPECT_LT(kept - lightest, 0.8) << qb;
    EXPECT_GE(lightest, heaviest_left) << qb;
  }
}

TEST(Oracles, GlobalBeatsTheOthersAtEqualTiles) {
  const ProblemTensors p = make_problem({1, 1, 1300, 1300, 64});
  for (const auto& [name, values] : {std::pair<std::string, ParamValues>{"oracle_topk", {{"budget", "0.2"}}},
                                     {"oracle_topp", {{"top_p", "0.6"}}},
                                     {"oracle_threshold", {{"threshold", "0.03"}}},
                                     {"block_topk", {{"budget", "0.2"}, {"block", "64x32"}}}}) {
    const BlockMask other = selected(p, name, values);
    const MaskCounts counts = count_mask(other.view(), 0);
    const double budget = double(counts.tiles) / double(counts.causal_tiles);
    const BlockMask global = selected(p, "oracle_global", {{"budget", std::to_string(budget)}});
    EXPECT_NEAR(double(count_mask(global.view(), 0).tiles), double(counts.tiles), 1) << name;
    EXPECT_GE(recall(p, global), recall(p, other) - 1e-3) << name;
  }
}

TEST(Oracles, PeakIsTheLargestProbabilityOfATile) {
  const ProblemTensors p = make_problem({2, 1, 200, 300, 32});
  const BlockGrid grid{{64, 32}, 200, 300, true, {}};
  const std::vector<float> plain = true_peak(p.view(), grid);
  EXPECT_LE(relative_l2(cpu::block_peak(p.view(), fast_lse(p.view()), grid), plain), 1e-5);
  // Row 0 alone, by hand; it sits at position 100.
  const BlockGrid single{{1, 300}, 200, 300, true, {}};
  const double lse = reference_attention(p.view()).lse[0];
  double best = 0;
  for (int key = 0; key <= 100; ++key) {
    double dot = 0;
    for (int d = 0; d < 32; ++d) dot += double(p.q[d]) * p.k[std::size_t(key) * 32 + d];
    best = std::max(best, std::exp(p.scale * dot - lse));
  }
  EXPECT_NEAR(true_peak(p.view(), single)[0], best, 1e-6);
}

}  // namespace
}  // namespace salebench
