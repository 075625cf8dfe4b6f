// CPU kernels against the double reference, on every instruction set that this machine has.
#include <gtest/gtest.h>

#include "core/reference.h"
#include "kernels/cpu/antidiagonal.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/block_scores.h"
#include "kernels/cpu/pooling.h"
#include "kernels/cpu/simd.h"
#include "methods/shared/last_queries.h"
#include "tests/problems.h"

namespace salebench {
namespace {

constexpr double kTolerance = 1e-5;  // relative L2, float32 against double

class Kernels : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { cpu::set_simd(GetParam()); }
  void TearDown() override { cpu::set_simd(""); }
};

const std::vector<Shape> kShapes = {
    {1, 1, 1, 1, 64},      {2, 1, 1, 77, 64},     {7, 1, 300, 300, 64}, {4, 2, 129, 129, 80}, {3, 3, 200, 333, 128},
    {2, 2, 64, 64, 256},   {2, 1, 65, 1000, 256}, {1, 1, 31, 31, 1},    {2, 1, 95, 95, 33},   {14, 2, 128, 160, 64},
    {1, 1, 1100, 1100, 8}, {1, 1, 257, 353, 64},  {2, 1, 97, 289, 128}};

BlockMask random_mask(const Shape& s, BlockSize block, std::optional<Window> window, bool causal, unsigned seed) {
  BlockMask mask({block, s.q_len, s.kv_len, causal, window}, s.q_heads);
  std::mt19937 random(seed);
  const BlockGrid grid = mask.view().grid;
  for (int head = 0; head < s.q_heads; ++head)
    for (int qb = 0; qb < grid.q_blocks(); ++qb)
      for (int kb = 0; kb < grid.causal_end(qb); ++kb)
        if (random() % 3 == 0) mask.view().keep(head, qb, kb);
  return mask;
}

/// Output within the tolerance, log-sum-exp equal where finite and -inf for the same rows.
void expect_equal(const AttentionResult& got, const ReferenceResult& exact) {
  double size = 0;
  for (const double x : exact.output) size += std::fabs(x);
  if (size > 0) {
    EXPECT_LE(relative_l2(got.output, exact.output), kTolerance);
  }
  for (std::size_t i = 0; i < exact.lse.size(); ++i) {
    if (std::isinf(exact.lse[i])) {
      EXPECT_EQ(got.lse[i], -std::numeric_limits<float>::infinity()) << "row " << i;
    } else {
      EXPECT_NEAR(got.lse[i], exact.lse[i], 1e-5 * std::max(1.0, std::fabs(exact.lse[i]))) << "row " << i;
    }
  }
}

TEST_P(Kernels, DenseAttention) {
  for (const Shape& shape : kShapes)
    for (const bool causal : {true, false}) {
      SCOPED_TRACE(shape_text(shape) + (causal ? " causal" : ""));
      ProblemTensors p = make_problem(shape);
      p.causal = causal;
      AttentionResult result(shape);
      cpu::dense_attention(p.view(), result.view());
      expect_equal(result, reference_attention(p.view()));
    }
}

// The references take most of this test's time, so each is computed once for all instruction sets.
TEST(BlockSparse, AttentionOnEveryInstructionSet) {
  const std::vector<BlockSize> blocks = {{64, 32}, {64, 64},  {128, 128}, {1, 1},  {16, 8},
                                         {64, 1},  {100, 48}, {1, 64},    {8, 32}, {24, 40}};
  unsigned seed = 0;
  for (const Shape& shape : kShapes)
    for (const BlockSize block : blocks)
      for (const bool windowed : {false, true}) {
        const ProblemTensors p = make_problem(shape);
        const auto window = windowed ? std::optional(Window{5, 40, 3}) : std::nullopt;
        const BlockMask mask = random_mask(shape, block, window, true, ++seed);
        const ConstMaskView view = mask.view();
        const ReferenceResult exact = reference_attention(p.view(), &view);
        for (const std::string& simd : cpu::simd_names()) {
          SCOPED_TRACE(simd + " " + shape_text(shape) + " block " + std::to_string(block.q) + "x" +
                       std::to_string(block.k));
          cpu::set_simd(simd);
          AttentionResult result(shape), lse_alone(shape);
          cpu::block_sparse_attention(p.view(), view, result.view());
          expect_equal(result, exact);
          cpu::block_sparse_attention(p.view(), view, {{}, lse_alone.lse});
          EXPECT_EQ(lse_alone.lse, result.lse);
        }
      }
  cpu::set_simd("");
}

TEST_P(Kernels, LargeLogitsDoNotOverflow) {
  ProblemTensors p = make_problem({1, 1, 300, 300, 64});
  for (float& q : p.q) q *= 100;
  AttentionResult result(p.shape);
  cpu::dense_attention(p.view(), result.view());
  expect_equal(result, reference_attention(p.view()));
}

/// A problem whose values bfloat16 or float16 holds exactly, as captures do: the kernels may use that.
ProblemTensors rounded_problem(const Shape& shape, int significant_bits) {
  ProblemTensors p = make_problem(shape);
  for (auto* values : {&p.q, &p.k, &p.v})
    for (float& x : *values) {
      int exponent = 0;
      const float mantissa = std::frexp(x, &exponent);
      x = std::ldexp(std::nearbyint(std::ldexp(mantissa, significant_bits)), exponent - significant_bits);
    }
  return p;
}

TEST_P(Kernels, NarrowStorageTypes) {
  for (const Shape& shape : {Shape{2, 1, 300, 700, 64}, Shape{1, 1, 400, 400, 128}, Shape{1, 1, 100, 130, 80}})
    for (const int bits : {8, 11}) {
      SCOPED_TRACE(shape_text(shape) + " bits " + std::to_string(bits));
      const ProblemTensors p = rounded_problem(shape, bits);
      AttentionResult result(shape);
      cpu::dense_attention(p.view(), result.view());
      expect_equal(result, reference_attention(p.view()));
    }
}

TEST_P(Kernels, ScoresThatGrowAlongTheRow) {
  // Each later key outweighs all before it, by far more than float32 holds over the row.
  ProblemTensors p = rounded_problem({1, 1, 500, 500, 64}, 8);
  for (int i = 0; i < 500; ++i)
    for (int d = 0; d < 64; ++d) {
      p.q[std::size_t(i) * 64 + d] = 1;
      p.k[std::size_t(i) * 64 + d] = float(i / 2);
    }
  AttentionResult result(p.shape);
  cpu::dense_attention(p.view(), result.view());
  expect_equal(result, reference_attention(p.view()));
  for (float& k : p.k) k = -k;  // and the other way round
  cpu::dense_attention(p.view(), result.view());
  expect_equal(result, reference_attention(p.view()));
}

TEST_P(Kernels, BlockMass) {
  for (const Shape& shape : {Shape{4, 2, 200, 200, 64}, Shape{1, 1, 70, 301, 80}})
    for (const BlockSize block : {BlockSize{64, 32}, BlockSize{128, 128}, BlockSize{16, 24}}) {
      const ProblemTensors p = make_problem(shape);
      const BlockGrid grid{block, shape.q_len, shape.kv_len, true, {}};
      AttentionResult dense(shape);
      cpu::dense_attention(p.view(), dense.view());
      const auto mass = cpu::block_mass(p.view(), dense.lse, grid);
      EXPECT_LE(relative_l2(mass, reference_block_mass(p.view(), reference_attention(p.view()).lse, grid)), kTolerance);
    }
}

TEST_P(Kernels, LineSums) {
  for (const Shape& shape : {Shape{1, 1, 1, 1, 64}, Shape{4, 2, 129, 129, 80}, Shape{2, 1, 65, 1000, 256}})
    for (const int rows : {1, 100}) {
      SCOPED_TRACE(shape_text(shape) + " rows " + std::to_string(rows));
      const ProblemTensors p = make_problem(shape);
      const auto sums = cpu::line_sums(p.view(), rows);
      for (int head = 0; head < shape.q_heads; ++head) {
        const cpu::LineSums plain = plain_line_sums(p.view(), head, rows);
        EXPECT_LE(relative_l2(sums[head].column, plain.column), kTolerance);
        EXPECT_LE(relative_l2(sums[head].offset, plain.offset), kTolerance);
      }
    }
}

/// The attention problem between strides of tokens that XAttention estimates with.
ProblemTensors strided_problem(const ProblemTensors& p, int stride) {
  ProblemTensors strided = p;
  strided.shape.q_len /= stride, strided.shape.kv_len /= stride, strided.shape.head_dim *= stride;
  strided.scale /= float(stride);
  const int dim = p.shape.head_dim;
  for (int token = 0; token < p.shape.q_heads * p.shape.q_len; ++token)
    std::copy_n(&p.q[std::size_t(token) * dim], dim,
                &strided.q[std::size_t(token / stride * stride + stride - 1 - token % stride) * dim]);
  return strided;
}

TEST_P(Kernels, AntidiagonalMass) {
  for (const Shape& shape : {Shape{2, 1, 256, 256, 16}, Shape{2, 2, 384, 1024, 33}, Shape{1, 1, 64, 192, 64}})
    for (const int stride : {1, 8, 64}) {
      SCOPED_TRACE(shape_text(shape) + " stride " + std::to_string(stride));
      const ProblemTensors p = make_problem(shape), strided = strided_problem(p, stride);
      const BlockGrid grid{{128, 128}, shape.q_len, shape.kv_len, true, {}};
      const BlockGrid strided_grid{{128 / stride, 128 / stride}, strided.shape.q_len, strided.shape.kv_len, true, {}};
      auto exact = reference_block_mass(strided.view(), reference_attention(strided.view()).lse, strided_grid);
      const std::size_t row_size = grid.k_blocks();
      for (std::size_t i = 0; i < exact.size(); ++i) {  // from means to sums over rows
        const int qb = int(i / row_size) % grid.q_blocks();
        exact[i] *= strided_grid.q_end(qb) - strided_grid.q_begin(qb);
      }
      EXPECT_LE(relative_l2(cpu::antidiagonal_mass(p.view(), stride, grid), exact), kTolerance);
    }
}

INSTANTIATE_TEST_SUITE_P(Simd, Kernels, testing::ValuesIn(cpu::simd_names()),
                         [](const auto& info) { return info.param; });

TEST(Pooling, MeansOfUnevenBlocks) {
  const std::vector<float> x = {1, 10, 3, 30, 5, 50};  // 3 rows of 2
  EXPECT_EQ(cpu::mean_pool(x.data(), 3, 2, 2), (std::vector<float>{2, 20, 5, 50}));
}

TEST(Pooling, MaximaOfUnevenBlocks) {
  const std::vector<float> x = {1, -10, 3, -30, -5, 50};  // 3 rows of 2
  EXPECT_EQ(cpu::max_pool(x.data(), 3, 2, 2), (std::vector<float>{3, -10, -5, 50}));
}

}  // namespace
}  // namespace salebench
