// Invariants of SALE's options and of its cheaper scans (sale_pooled).
#include <gtest/gtest.h>

#include <array>

#include "core/fp8.h"
#include "core/reference.h"
#include "kernels/cpu/simd.h"
#include "methods/sale/sale_geometry.h"
#include "methods/sale/sale_rotation.h"
#include "tests/masks.h"
#include "tests/problems.h"

namespace salebench {
namespace {

const Shape kShape{2, 1, 1500, 1500, 64};
const std::vector<Shape> kShapes = {kShape, {3, 1, 300, 1999, 128}, {2, 2, 1111, 1111, 80}};

TEST(Fp8, KnownValues) {
  // Bit patterns of the OCP FP8 format, E4M3.
  const std::array<std::pair<float, int>, 12> known = {{{0.0f, 0x00},
                                                        {1.0f, 0x38},
                                                        {-1.0f, 0xb8},
                                                        {1.125f, 0x39},
                                                        {448.0f, 0x7e},
                                                        {1e9f, 0x7e},
                                                        {-500.0f, 0xfe},
                                                        {0x1p-6f, 0x08},
                                                        {0x1p-9f, 0x01},
                                                        {7 * 0x1p-9f, 0x07},
                                                        {0x1p-11f, 0x00},
                                                        {240.0f, 0x77}}};
  for (const auto& [value, bits] : known) EXPECT_EQ(float_to_e4m3(value), bits) << value;
  // Ties go to the even mantissa: 1.0625 is between 1 and 1.125, 1.1875 between 1.125 and 1.25.
  EXPECT_EQ(e4m3_to_float(float_to_e4m3(1.0625f)), 1.0f);
  EXPECT_EQ(e4m3_to_float(float_to_e4m3(1.1875f)), 1.25f);
  EXPECT_EQ(e4m3_to_float(float_to_e4m3(1.5f * 0x1p-9f)), 0x1p-8f);
  EXPECT_EQ(e4m3_to_float(float_to_e4m3(7.9f * 0x1p-9f)), 0x1p-6f);  // a subnormal that rounds to a normal value
  EXPECT_TRUE(std::isnan(e4m3_to_float(float_to_e4m3(NAN))));
}

TEST(Fp8, EveryPatternComesBack) {
  float last = -1;
  for (int bits = 0; bits < 0x7f; ++bits) {
    const float value = e4m3_to_float(std::uint8_t(bits));
    EXPECT_GT(value, last);
    EXPECT_EQ(float_to_e4m3(value), bits);
    EXPECT_EQ(float_to_e4m3(-value), bits | 0x80);
    last = value;
  }
}

TEST(SaleGeometry, OfAllTiles) {
  for (const std::string& block : kBlockChoices)
    for (const Shape& s : {kShape, Shape{1, 1, 4096, 4096, 64}, Shape{1, 1, 333, 2047, 64}}) {
      const BlockGrid grid{parse_block(block), s.q_len, s.kv_len, true, {}};
      for (int qb = 0; qb < grid.q_blocks(); ++qb) {
        const cpu::ScanRange middle = sale::middle_of(grid, qb, 4);
        EXPECT_EQ((middle.end - middle.begin) % sale::segment_blocks(grid), 0);
        EXPECT_LE(middle.end, std::max(1, grid.diagonal_begin(qb))) << block << " query block " << qb;
        if (middle.end == middle.begin) continue;
        // Every row has at least 64 local keys before its query block.
        EXPECT_GE(grid.position(grid.q_begin(qb)) - middle.end * grid.block.k, 64 - grid.block.k + 1) << block;
      }
    }
}

TEST(SaleGeometry, OfThePaper) {
  const BlockGrid grid{{64, 32}, 8192, 8192, true, {}};
  for (int qb = 8; qb < 128; ++qb) {
    EXPECT_EQ(grid.causal_end(qb) - sale::middle_of(grid, qb, 4).end, qb % 2 ? 7 : 5);
    EXPECT_EQ(grid.causal_end(qb) - sale::middle_of(grid, qb, 8).end, qb % 2 ? 11 : 9);
  }
}

TEST(SaleOptions, FastSelectionIsThePlainOne) {
  const std::vector<ParamValues> options = {
      {{"bits", "fp8"}},
      {{"bits", "fp8"}, {"smooth", "none"}, {"block", "128x64"}},
      {{"scales", "token"}},
      {{"scales", "token"}, {"bits", "8"}, {"smooth", "k"}},
      {{"reference", "running"}},
      {{"reference", "running"}, {"bits", "fp8"}, {"block", "128x128"}},
      {{"reference", "running"}, {"bits", "16"}, {"block", "64x64"}, {"threshold_scaling", "inverse_length"}},
      {{"block", "128x32"}},
      {{"block", "128x128"}, {"local_blocks", "1"}}};
  for (const Shape& shape : {Shape{1, 1, 1300, 1300, 64}, Shape{2, 1, 200, 1501, 80}})
    for (ParamValues values : options) {
      values["threshold"] = "0.004";
      const ProblemTensors p = make_problem(shape);
      const BlockMask plain = select("sale", p, values, false);
      for (const std::string& simd : cpu::simd_names()) {
        cpu::set_simd(simd);
        EXPECT_LE(difference(plain, select("sale", p, values)), tiles(plain) / 1000)
            << simd << " " << shape_text(shape) << " " << param_text(values);
      }
    }
  cpu::set_simd("");
}

TEST(SaleOptions, RunningReferenceKeepsASubsetOfFixed) {
  // The tiles kept on the way only raise a row's threshold.
  for (const char* bits : {"4", "16", "fp8"})
    for (const char* threshold : {"0.0005", "0.004", "0.02"}) {
      const ProblemTensors p = make_problem(kShape);
      const ParamValues values = {{"bits", bits}, {"threshold", threshold}};
      ParamValues running = values;
      running["reference"] = "running";
      const BlockMask all = select("sale", p, values), fewer = select("sale", p, running);
      EXPECT_TRUE(contains(all, fewer)) << bits << " " << threshold;
      EXPECT_LT(tiles(fewer), tiles(all)) << bits << " " << threshold;
    }
}

TEST(SaleOptions, InverseLengthScalesTheThreshold) {
  const ProblemTensors p = make_problem(kShape);
  const BlockMask scaled = select("sale", p, {{"threshold", "0.001"}, {"threshold_scaling", "inverse_length"}});
  const BlockMask direct = select("sale", p, {{"threshold", std::to_string(0.001 * 8192 / 1500)}});
  EXPECT_LE(difference(scaled, direct), 1);
  EXPECT_GT(difference(scaled, select("sale", p, {{"threshold", "0.001"}})), 10);
}

/// x [rows, dim] minus mean, in 15 levels of each row's own largest value: codes and scales.
std::pair<std::vector<double>, std::vector<double>> token_codes(const float* x, const std::vector<double>& mean,
                                                                int rows) {
  const int dim = int(mean.size());
  std::vector<double> codes, scales;
  for (int i = 0; i < rows; ++i) {
    double most = 0;
    for (int d = 0; d < dim; ++d) most = std::max(most, std::fabs(x[i * dim + d] - mean[d]));
    scales.push_back(most / 7);
    for (int d = 0; d < dim; ++d) codes.push_back(std::nearbyint((x[i * dim + d] - mean[d]) / scales.back()));
  }
  return {codes, scales};
}

TEST(SaleOptions, TokenScalesFollowTheirDefinition) {
  // One query block, from its formula: S~ = s_q s_k (q4 . k4) + (mean of Q) . k, K without its mean.
  const int dim = 64, rows = 64, keys = 1400;
  ProblemTensors p = make_problem({1, 1, rows, keys, dim});
  std::vector<double> k_mean(dim), q_mean(dim);
  for (int j = 0; j < keys; ++j)
    for (int d = 0; d < dim; ++d) k_mean[d] += double(p.k[j * dim + d]) / keys;
  for (int i = 0; i < rows; ++i)
    for (int d = 0; d < dim; ++d) q_mean[d] += double(p.q[i * dim + d]) / rows;
  const auto [q4, q_scale] = token_codes(p.q.data(), q_mean, rows);
  const auto [k4, k_scale] = token_codes(p.k.data(), k_mean, keys);
  const cpu::ScanRange middle = sale::middle_of({{64, 32}, rows, keys, true, {}}, 0, 4);
  const BlockMask mask = select("sale", p, {{"scales", "token"}, {"threshold", "0.05"}});
  std::vector<double> largest(middle.end, -1e30);  // of a tile: max of S~ - T_i
  for (int i = 0; i < rows; ++i) {
    double l = 0;
    std::vector<double> bias(keys);
    for (int j = 0; j < keys; ++j) {
      double exact = 0;
      for (int d = 0; d < dim; ++d) {
        exact += double(p.q[i * dim + d]) * (p.k[j * dim + d] - k_mean[d]);
        bias[j] += q_mean[d] * (p.k[j * dim + d] - k_mean[d]);
      }
      if (j <= p.view().key_end(i) - 1 && (j / 32 < middle.begin || j / 32 >= middle.end))
        l += std::exp(p.scale * exact);
    }
    for (int j = 32 * middle.begin; j < 32 * middle.end; ++j) {
      double dot = 0;
      for (int d = 0; d < dim; ++d) dot += q4[i * dim + d] * k4[j * dim + d];
      const double estimate = q_scale[i] * k_scale[j] * dot + bias[j];
      largest[j / 32] = std::max(largest[j / 32], estimate - std::log(0.05 * l) / p.scale);
    }
  }
  int kept = 0;
  for (int kb = middle.begin; kb < middle.end; ++kb) {
    kept += largest[kb] >= 0;
    if (std::fabs(largest[kb]) < 1e-3) continue;  // a near-tie
    EXPECT_EQ(mask.view().kept(0, 0, kb), largest[kb] >= 0) << "key block " << kb;
  }
  EXPECT_GT(kept, 3);
  EXPECT_LT(kept, middle.end - 4);
}

TEST(SaleOptions, SageErrorIsThatOfItsRounding) {
  for (const Shape& shape : kShapes) {
    const ProblemTensors p = make_problem(shape);
    const auto dense = make_method("dense", {{"attend", "sage"}}), sale = make_method("sale", {{"attend", "sage"}});
    EXPECT_FALSE(dense->exact_attend() || sale->exact_attend());
    const ReferenceResult exact = reference_attention(p.view());
    BlockMask all(grid_of(*dense, p.view()), p.shape.q_heads), fine(grid_of(*sale, p.view()), p.shape.q_heads);
    dense->select(p.view(), all.view());
    for (int head = 0; head < p.shape.q_heads; ++head)
      for (int qb = 0; qb < fine.view().grid.q_blocks(); ++qb)
        fine.view().keep_range(head, qb, 0, fine.view().grid.causal_end(qb));
    AttentionResult a(p.shape), b(p.shape);
    dense->attend(p.view(), all.view(), a.view());
    sale->attend(p.view(), fine.view(), b.view());
    const double error = relative_l2(a.output, exact.output);
    EXPECT_GT(error, 1e-4) << shape_text(shape);
    EXPECT_LT(error, 0.02) << shape_text(shape);  // 0.016 to 0.017 on these values
    EXPECT_LT(relative_l2(b.output, a.output), 1e-5);
    for (std::size_t i = 0; i < exact.lse.size(); ++i) ASSERT_NEAR(a.lse[i], exact.lse[i], 0.1);  // the mean is back
  }
}

TEST(SaleOptions, SageIsExactOnWholeNumbers) {
  // Whole numbers up to 127, which every 64 rows of Q and every 32 of K reach, and keys whose mean is 0.
  ProblemTensors p = make_problem({2, 1, 500, 1216, 64});
  for (std::size_t i = 0; i < p.q.size(); ++i) p.q[i] = i % (32 * 64) == 0 ? 127.0f : std::round(20 * p.q[i]);
  for (std::size_t i = 0; i < p.k.size(); ++i) p.k[i] = i % (32 * 64) == 0 ? 127.0f : std::round(20 * p.k[i]);
  for (std::size_t key = 1; key < 1216; key += 2)
    for (std::size_t d = 0; d < 64; ++d) p.k[key * 64 + d] = -p.k[(key - 1) * 64 + d];
  for (auto* values : {&p.q, &p.k})
    for (float& x : *values) x = std::clamp(x, -127.0f, 127.0f);
  p.scale = 1e-4f;
  const ReferenceResult exact = reference_attention(p.view());
  AttentionResult out(p.shape);
  const auto method = make_method("dense", {{"attend", "sage"}});
  const BlockMask none(grid_of(*method, p.view()), 2);
  method->attend(p.view(), none.view(), out.view());
  EXPECT_LT(relative_l2(out.output, exact.output), 1e-5);
  EXPECT_LT(relative_l2(out.lse, exact.lse), 1e-5);
}

TEST(SaleRotation, AllChannelsKeepTheLogits) {
  const int dim = 64;
  const ProblemTensors p = make_problem({1, 1, 300, 400, dim});
  const sale::Rotation rotation = sale::make_rotation(p.q, p.k, dim, dim);
  const auto q = sale::rotate(p.q, rotation.to_q, dim, dim), k = sale::rotate(p.k, rotation.to_k, dim, dim);
  for (int i = 0; i < 300; i += 7)
    for (int j = 0; j < 400; j += 11) {
      double exact = 0, rotated = 0;
      for (int d = 0; d < dim; ++d) {
        exact += double(p.q[i * dim + d]) * p.k[j * dim + d];
        rotated += double(q[i * dim + d]) * k[j * dim + d];
      }
      ASSERT_NEAR(rotated, exact, 1e-4);
    }
}

TEST(SaleRotation, FewChannelsHoldWhatIsOfLowRank) {
  // Keys in a space of 5 dimensions: 5 channels are exact, 4 are not.
  const int dim = 64;
  ProblemTensors p = make_problem({1, 1, 300, 400, dim});
  for (int j = 0; j < 400; ++j)
    for (int d = 0; d < dim; ++d) {
      const float* basis = &p.v[std::size_t(d) * dim];
      float sum = 0;
      for (int r = 0; r < 5; ++r) sum += p.q[j % 300 * dim + r] * basis[r];
      p.k[j * dim + d] = sum;
    }
  for (const int channels : {4, 5}) {
    const sale::Rotation rotation = sale::make_rotation(p.q, p.k, dim, channels);
    const auto q = sale::rotate(p.q, rotation.to_q, dim, channels), k = sale::rotate(p.k, rotation.to_k, dim, channels);
    double worst = 0;
    for (int i = 0; i < 300; i += 7)
      for (int j = 0; j < 400; j += 11) {
        double error = 0;
        for (int d = 0; d < dim; ++d) error += double(p.q[i * dim + d]) * p.k[j * dim + d];
        for (int d = 0; d < channels; ++d) error -= double(q[i * channels + d]) * k[j * channels + d];
        worst = std::max(worst, std::fabs(error));
      }
    if (channels == 5)
      EXPECT_LT(worst, 1e-3);
    else
      EXPECT_GT(worst, 0.1);
  }
}

}  // namespace
}  // namespace salebench
