// The double reference and the metrics against sums written out in full.
#include "core/reference.h"

#include <gtest/gtest.h>

#include "core/metrics.h"
#include "kernels/cpu/attention.h"
#include "tests/problems.h"

namespace salebench {
namespace {

/// Softmax weights of one row over all its keys, by the formula; exponents stay small in these problems. Under a
/// sliding window of n tokens a row sees its own key and the n - 1 before it.
std::vector<double> weights(const HostProblem& p, int head, int row) {
  std::vector<double> w(p.key_end(row));
  const int dim = p.shape.head_dim, own = p.shape.offset() + row;
  double sum = 0;
  for (std::size_t key = 0; key < w.size(); ++key) {
    if (p.sliding_window > 0 && own - int(key) >= p.sliding_window) continue;
    double dot = 0;
    for (int d = 0; d < dim; ++d) dot += double(p.q_head(head)[row * dim + d]) * p.k_of(head)[key * dim + d];
    sum += w[key] = std::exp(p.scale * dot);
  }
  for (double& x : w) x /= sum;
  return w;
}

TEST(Reference, AgreesWithTheFormula) {
  for (const auto& [causal, window] : {std::pair(true, 0), {false, 0}, {true, 1}, {true, 2}, {true, 20}, {true, 52}}) {
    ProblemTensors tensors = make_problem({4, 2, 37, 53, 16});
    tensors.causal = causal;
    tensors.sliding_window = window;
    const HostProblem p = tensors.view();
    const ReferenceResult result = reference_attention(p);
    for (int head = 0; head < 4; ++head)
      for (int row = 0; row < 37; ++row) {
        const auto w = weights(p, head, row);
        for (int d = 0; d < 16; ++d) {
          double expected = 0;
          for (std::size_t key = 0; key < w.size(); ++key) expected += w[key] * p.v_of(head)[key * 16 + d];
          EXPECT_NEAR(result.output[(std::size_t(head) * 37 + row) * 16 + d], expected, 1e-12);
        }
      }
  }
}

TEST(Reference, RowsAndLongInputsUseTheSameSums) {
  ProblemTensors tensors = make_problem({1, 1, 1300, 1300, 8});  // more than two key tiles
  const std::vector<int> rows = {0, 5, 700, 1299};
  for (const int window : {0, 3, 600}) {
    tensors.sliding_window = window;
    const ReferenceResult whole = reference_attention(tensors.view());
    const ReferenceResult some = reference_attention(tensors.view(), nullptr, rows);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      EXPECT_NEAR(some.lse[i], whole.lse[rows[i]], 1e-12);
      EXPECT_NEAR(some.output[i * 8], whole.output[std::size_t(rows[i]) * 8], 1e-12);
    }
  }
}

TEST(Reference, BlockMassOfARowSumsToOne) {
  for (const int window : {0, 1, 50}) {
    ProblemTensors tensors = make_problem({2, 1, 100, 140, 16});
    tensors.sliding_window = window;
    const BlockGrid grid{{32, 16}, 100, 140, true, {}, window};
    const auto mass = reference_block_mass(tensors.view(), reference_attention(tensors.view()).lse, grid);
    for (int row = 0; row < 2 * grid.q_blocks(); ++row) {
      double sum = 0;
      for (int kb = 0; kb < grid.k_blocks(); ++kb) sum += mass[std::size_t(row) * grid.k_blocks() + kb];
      EXPECT_NEAR(sum, 1, 1e-12);
    }
  }
}

TEST(Metrics, RecallIsTheKeptProbabilityAndErrorTheDistance) {
  const ProblemTensors tensors = make_problem({2, 1, 60, 60, 16});
  const HostProblem p = tensors.view();
  BlockMask mask({{16, 16}, 60, 60, true, {}}, 2);
  for (int head = 0; head < 2; ++head)
    for (int qb = 0; qb < 4; ++qb) mask.view().keep(head, qb, 0), mask.view().keep(head, qb, qb);
  AttentionResult sparse(p.shape);
  cpu::block_sparse_attention(p, std::as_const(mask).view(), sparse.view());
  const Truth truth = compute_truth(p, sample_rows(60, 0, 1));
  const ProblemAccuracy accuracy =
      measure_accuracy(p.shape, truth, std::as_const(mask).view(), sparse.output,
                       reference_recall(p, std::as_const(mask).view(), truth.rows, truth.lse));
  for (int head = 0; head < 2; ++head) {
    double total = 0, least = 1, kept_pairs = 0;
    for (int row = 0; row < 60; ++row) {
      double recall = 0;
      const auto w = weights(p, head, row);
      for (int key = 0; key <= row; ++key)
        if (mask.view().kept(head, row / 16, key / 16)) recall += w[key], ++kept_pairs;
      total += recall;
      least = std::min(least, recall);
    }
    EXPECT_NEAR(accuracy.heads[head].recall_mean, total / 60, 1e-12);
    EXPECT_NEAR(accuracy.heads[head].recall_min, least, 1e-12);
    EXPECT_NEAR(accuracy.heads[head].density, kept_pairs / (60 * 61 / 2), 1e-12);
    const std::size_t half = sparse.output.size() / 2;
    const std::span<const float> got(sparse.output.data() + head * half, half);
    const std::span<const float> exact(truth.output.data() + head * half, half);
    EXPECT_NEAR(accuracy.heads[head].rel_l2, relative_l2(got, exact), 1e-9);
    double absolute = 0;
    for (std::size_t i = 0; i < half; ++i) absolute += std::fabs(double(got[i]) - exact[i]);
    EXPECT_NEAR(accuracy.heads[head].l1_per_token, absolute / 60, 1e-9);
  }
  EXPECT_NEAR(accuracy.overall.recall_mean, (accuracy.heads[0].recall_mean + accuracy.heads[1].recall_mean) / 2, 1e-12);
  EXPECT_EQ(accuracy.overall.rel_l2_worst, std::max(accuracy.heads[0].rel_l2, accuracy.heads[1].rel_l2));
  EXPECT_EQ(accuracy.overall.flops_dense, 2 * 4.0 * 16 * 60 * 61 / 2);
}

TEST(Truth, SampledRowsAreSpreadAndSeeded) {
  const auto rows = sample_rows(1000, 10, 3);
  ASSERT_EQ(rows.size(), 10u);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(rows[i] / 100, i);
  EXPECT_EQ(rows, sample_rows(1000, 10, 3));
  EXPECT_NE(rows, sample_rows(1000, 10, 4));
  EXPECT_EQ(sample_rows(5, 9, 1), (std::vector<int>{0, 1, 2, 3, 4}));
}

}  // namespace
}  // namespace salebench
