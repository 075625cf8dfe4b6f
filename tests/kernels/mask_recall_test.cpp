// Recall in double precision: the tuned kernel against the reference, on each instruction set, and what it must be
// whatever the logits.
#include "kernels/cpu/mask_recall.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "core/half.h"
#include "core/reference.h"
#include "core/registry.h"
#include "core/truth.h"
#include "kernels/cpu/simd.h"
#include "tests/problems.h"

namespace salebench {
namespace {

/// A mask that keeps about `share` of all tiles, seeded.
BlockMask random_mask(const BlockGrid& grid, int heads, double share) {
  std::mt19937 random(5);
  std::bernoulli_distribution keep(share);
  BlockMask mask(grid, heads);
  for (int head = 0; head < heads; ++head)
    for (int qb = 0; qb < grid.q_blocks(); ++qb)
      for (int kb = grid.visible_begin(qb); kb < grid.causal_end(qb); ++kb)
        if (keep(random)) mask.view().keep(head, qb, kb);
  return mask;
}

/// Calls check(instruction set) with each in use.
template <class Check>
void on_each_simd(const Check& check) {
  for (const std::string& simd : cpu::simd_names()) {
    SCOPED_TRACE(simd);
    cpu::set_simd(simd);
    check();
  }
  cpu::set_simd("");
}

void expect_reference(const HostProblem& p, ConstMaskView mask, const std::vector<int>& rows) {
  const Truth truth = compute_truth(p, rows);
  const std::vector<double> expected = reference_recall(p, mask, truth.rows, truth.lse);
  on_each_simd([&] {
    const std::vector<double> got = cpu::mask_recall(p, mask, truth.rows, truth.lse);
    ASSERT_EQ(got.size(), expected.size());
    for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], 1e-12) << "row " << i;
  });
}

TEST(MaskRecall, IsTheReferences) {
  for (const BlockSize block : {BlockSize{64, 32}, {128, 128}, {1, 48}, {16, 1}, {48, 16}})
    for (const int window : {0, 1, 70})
      for (const double share : {0.0, 0.1, 0.6, 0.95}) {
        ProblemTensors p = make_problem({4, 2, 150, 311, 20});
        p.sliding_window = window;
        SCOPED_TRACE("window " + std::to_string(window) + " share " + std::to_string(share));
        const BlockGrid grid{block, 150, 311, true, {}, window};
        const BlockMask mask = random_mask(grid, 4, share);
        expect_reference(p.view(), mask.view(), sample_rows(150, 0, 1));
      }
}

TEST(MaskRecall, KnowsTheMethodsWindowAndSampledRows) {
  const ProblemTensors p = make_problem({2, 1, 200, 260, 64});
  for (const Window& window : {Window{10, 40, 0}, Window{0, 1, 30}, Window{100, 100, 7}}) {
    const BlockMask mask = random_mask({{64, 32}, 200, 260, true, window}, 2, 0.7);
    expect_reference(p.view(), mask.view(), sample_rows(200, 0, 1));
    expect_reference(p.view(), mask.view(), {3, 64, 65, 191, 199});
  }
  ProblemTensors both = p;
  both.causal = false;
  expect_reference(both.view(), random_mask({{64, 32}, 200, 260, false, {}}, 2, 0.5).view(), sample_rows(200, 0, 1));
}

/// Values as a file of the type holds them.
void round_to(const std::string& type, std::vector<float>& values) {
  for (float& x : values) {
    if (type == "float16") x = half_to_float(float_to_half(x));
    if (type == "bfloat16") x = bfloat16_to_float(float_to_bfloat16(x));
  }
}

/// A problem whose logits are of about this size: a channel that queries and keys share, as biases make it.
ProblemTensors with_logits_of(double size, const std::string& type) {
  ProblemTensors p = make_problem({2, 1, 300, 300, 64});
  const float bias = float(std::sqrt(size / p.scale));
  for (auto* values : {&p.q, &p.k})
    for (std::size_t i = 5; i < values->size(); i += 64) (*values)[i] += bias;
  for (auto* values : {&p.q, &p.k, &p.v}) round_to(type, *values);
  return p;
}

TEST(MaskRecall, OfAFullMaskIsOneWhateverTheLogits) {
  for (const char* type : {"float16", "bfloat16", "float32"})
    for (const int window : {0, 20})
      for (const double size : {1.0, 1e2, 1e4, 1e5}) {
        ProblemTensors p = with_logits_of(size, type);
        p.sliding_window = window;
        const Truth truth = compute_truth(p.view(), sample_rows(300, 0, 1));
        for (const auto& [name, values] : {std::pair<std::string, ParamValues>("dense", {}),
                                           {"block_topk", {{"budget", "1"}}},
                                           {"oracle_topp", {{"top_p", "1"}}},
                                           {"moba", {{"topk", "65536"}}}}) {
          SCOPED_TRACE(name + " " + type + " logits " + std::to_string(size));
          const auto method = make_method(name, values);
          BlockMask mask(grid_of(*method, p.view()), 2);
          method->select_fast(p.view(), mask.view());
          on_each_simd([&] {
            for (const double recall : cpu::mask_recall(p.view(), std::as_const(mask).view(), truth.rows, truth.lse))
              ASSERT_EQ(recall, 1.0);
          });
        }
      }
}

TEST(MaskRecall, OfTwoHalvesAddsUpToOneWhateverTheLogits) {
  for (const char* type : {"float16", "bfloat16", "float32"})
    for (const double size : {1.0, 1e2, 1e4, 1e5}) {
      SCOPED_TRACE(std::string(type) + " logits " + std::to_string(size));
      const ProblemTensors p = with_logits_of(size, type);
      const Truth truth = compute_truth(p.view(), sample_rows(300, 0, 1));
      const BlockGrid grid{{64, 32}, 300, 300, true, {}};
      const BlockMask mask = random_mask(grid, 2, 0.4);
      BlockMask rest(grid, 2);
      for (int head = 0; head < 2; ++head)
        for (int qb = 0; qb < grid.q_blocks(); ++qb)
          for (int kb = 0; kb < grid.causal_end(qb); ++kb)
            if (!mask.view().kept(head, qb, kb)) rest.view().keep(head, qb, kb);
      on_each_simd([&] {
        const auto kept = cpu::mask_recall(p.view(), mask.view(), truth.rows, truth.lse);
        const auto dropped = cpu::mask_recall(p.view(), std::as_const(rest).view(), truth.rows, truth.lse);
        for (std::size_t i = 0; i < kept.size(); ++i) ASSERT_NEAR(kept[i] + dropped[i], 1, 1e-9);
      });
    }
}

}  // namespace
}  // namespace salebench
