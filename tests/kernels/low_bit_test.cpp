// 8-bit attention against a plain transcription of its definition in double precision, and what it must not do to
// outputs.
#include "kernels/cpu/low_bit_attention.h"

#include <gtest/gtest.h>

#include "core/fp8.h"
#include "core/reference.h"
#include "core/registry.h"
#include "tests/masks.h"
#include "tests/problems.h"

namespace salebench {
namespace {

using Rows = std::vector<std::vector<double>>;

/// x [rows, dim] times H / sqrt(block) by blocks, H from its definition: entry (i, j) is -1 to the number of common
/// bits.
Rows rotated(const Rows& x, int block) {
  Rows y = x;
  for (std::size_t r = 0; r < x.size(); ++r)
    for (std::size_t i = 0; i < x[r].size(); ++i) {
      const std::size_t first = i / block * block;
      y[r][i] = 0;
      for (int j = 0; j < block; ++j)
        y[r][i] += (std::popcount(unsigned(i - first) & unsigned(j)) % 2 ? -1 : 1) * x[r][first + j] / std::sqrt(block);
    }
  return y;
}

Rows rounded_to_int8(Rows x, std::size_t group) {
  for (std::size_t first = 0; first < x.size(); first += group) {
    double most = 0;
    const std::size_t end = std::min(x.size(), first + group);
    for (std::size_t r = first; r < end; ++r)
      for (const double v : x[r]) most = std::max(most, std::fabs(v));
    for (std::size_t r = first; r < end; ++r)
      for (double& v : x[r]) v = std::nearbyint(v / most * 127) * most / 127;
  }
  return x;
}

double e4m3(double x) {
  return e4m3_to_float(float_to_e4m3(float(x)));
}

Rows rows_of(const float* x, int rows, int dim) {
  Rows all;
  for (int r = 0; r < rows; ++r) all.emplace_back(x + std::size_t(r) * dim, x + std::size_t(r + 1) * dim);
  return all;
}

std::vector<double> mean_of(const Rows& x) {
  std::vector<double> mean(x[0].size());
  for (const auto& row : x)
    for (std::size_t d = 0; d < mean.size(); ++d) mean[d] += row[d] / double(x.size());
  return mean;
}

Rows less(Rows x, const std::vector<double>& mean) {
  for (auto& row : x)
    for (std::size_t d = 0; d < mean.size(); ++d) row[d] -= mean[d];
  return x;
}

/// One head, causal. Weights are over the row's largest logit, which an online softmax knows from the start where all
/// keys are one step of it.
std::vector<double> by_definition(const ProblemTensors& p, const cpu::LowBitFormat& format) {
  const int dim = p.shape.head_dim, block = dim & -dim;
  Rows q = rows_of(p.q.data(), p.shape.q_len, dim), k = rows_of(p.k.data(), p.shape.kv_len, dim);
  Rows v = rows_of(p.v.data(), p.shape.kv_len, dim);
  k = less(k, mean_of(k));
  if (format.rotate) q = rotated(q, block), k = rotated(k, block);
  q = rounded_to_int8(q, std::size_t(format.query_rows)), k = rounded_to_int8(k, std::size_t(format.keys));
  std::vector<double> value_mean(std::size_t(dim), 0.0);
  if (format.e4m3_values) {
    value_mean = mean_of(v);
    v = less(v, value_mean);
    for (int d = 0; d < dim; ++d) {
      double most = 0;
      for (const auto& row : v) most = std::max(most, std::fabs(row[d]));
      for (auto& row : v) row[d] = e4m3(row[d] / (most / 448)) * (most / 448);
    }
  }
  std::vector<double> output;
  for (int row = 0; row < p.shape.q_len; ++row) {
    std::vector<double> logits;
    for (int key = 0; key <= p.shape.offset() + row; ++key) {
      logits.push_back(0);
      for (int d = 0; d < dim; ++d) logits.back() += p.scale * q[row][d] * k[key][d];
    }
    const double most = *std::ranges::max_element(logits);
    double sum = 0;
    std::vector<double> out(std::size_t(dim), 0.0);
    for (std::size_t key = 0; key < logits.size(); ++key) {
      const double weight = std::exp(logits[key] - most);
      sum += weight;
      for (int d = 0; d < dim; ++d) out[d] += (format.e4m3_values ? e4m3(448 * weight) / 448 : weight) * v[key][d];
    }
    for (int d = 0; d < dim; ++d) output.push_back(out[d] / sum + value_mean[d]);
  }
  return output;
}

TEST(LowBit, IsItsDefinition) {
  for (const Shape& shape : {Shape{1, 1, 200, 250, 64}, Shape{1, 1, 130, 130, 128}, Shape{1, 1, 70, 256, 80}})
    for (const auto& [format, limit] :
         {std::pair(cpu::kInt8Format, 2e-3), {cpu::kFp8Format, 4e-3}, {cpu::kSageFormat, 2e-3}}) {
      // Values whose codes are seldom near a tie, which float and double may round apart: the limit is for those few.
      const ProblemTensors p = make_problem(shape);
      AttentionResult got(shape);
      cpu::low_bit_attention(p.view(), nullptr, format, got.view());
      EXPECT_LT(relative_l2(got.output, by_definition(p, format)), limit) << shape_text(shape);
    }
}

TEST(LowBit, RotationKeepsProducts) {
  for (const int dim : {64, 96, 128}) {
    const ProblemTensors p = make_problem({1, 1, 40, 50, dim});
    std::vector<float> q = p.q, k = p.k;
    cpu::rotate_rows(q.data(), 40, dim);
    cpu::rotate_rows(k.data(), 50, dim);
    for (int i = 0; i < 40; ++i)
      for (int j = 0; j < 50; ++j) {
        double before = 0, after = 0;
        for (int d = 0; d < dim; ++d)
          before += double(p.q[i * dim + d]) * p.k[j * dim + d], after += double(q[i * dim + d]) * k[j * dim + d];
        ASSERT_NEAR(after, before, 1e-4);
      }
  }
}

/// Sums of FP8 products on tensor cores lose what is small beside the running sum: flat weights and biased values on a
/// long row show it, random input does not.
TEST(LowBit, KeepsTheSizeOfOutputsOnLongRows) {
  ProblemTensors p = make_problem({1, 1, 64, 1 << 17, 64}, 5, false);
  for (float& x : p.q) x *= 0.01f;
  for (float& x : p.v) x = 0.5f + 0.1f * x;
  const ReferenceResult exact = reference_attention(p.view());
  for (const cpu::LowBitFormat& format : {cpu::kInt8Format, cpu::kFp8Format}) {
    AttentionResult got(p.shape);
    cpu::low_bit_attention(p.view(), nullptr, format, got.view());
    double product = 0, size = 0;
    for (std::size_t i = 0; i < exact.output.size(); ++i)
      product += got.output[i] * exact.output[i], size += exact.output[i] * exact.output[i];
    EXPECT_NEAR(product / size, 1, 1e-3);
  }
}

TEST(LowBit, ErrorOfEachArithmetic) {
  const ProblemTensors p = make_problem({4, 2, 1024, 1024, 64});
  const ReferenceResult exact = reference_attention(p.view());
  std::map<std::string, double> error;
  for (const char* arithmetic : {"int8", "fp8", "sage"}) {
    const auto method = make_method("streaming", {{"attend", arithmetic}, {"sink", "2000"}, {"local", "2000"}});
    EXPECT_FALSE(method->exact_attend());
    BlockMask mask(grid_of(*method, p.view()), 4);
    method->select_fast(p.view(), mask.view());
    AttentionResult got(p.shape);
    method->attend(p.view(), mask.view(), got.view());
    error[arithmetic] = relative_l2(got.output, exact.output);
    for (std::size_t i = 0; i < exact.lse.size(); ++i) ASSERT_NEAR(got.lse[i], exact.lse[i], 0.1);
  }
  EXPECT_GT(error["int8"], 1e-3);
  EXPECT_LT(error["int8"], error["sage"]);
  EXPECT_LT(error["sage"], 0.02);
  EXPECT_GT(error["fp8"], error["int8"]);
  EXPECT_LT(error["fp8"], 0.04);
}

TEST(LowBit, RowsThatSeeNothingGetNothing) {
  const ProblemTensors p = make_problem({1, 1, 128, 128, 64});
  const auto method = make_method("block_topk", {{"attend", "fp8"}});
  const BlockMask none(grid_of(*method, p.view()), 1);
  AttentionResult got(p.shape);
  method->attend(p.view(), none.view(), got.view());
  EXPECT_TRUE(std::ranges::all_of(got.output, [](float x) { return x == 0; }));
  EXPECT_TRUE(std::ranges::all_of(got.lse, [](float x) { return std::isinf(x) && x < 0; }));
}

}  // namespace
}  // namespace salebench
