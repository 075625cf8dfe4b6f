// What the contract of methods (cuda_methods_test) does not reach of selection on the device: ties, 4-bit products,
// attention mass. Skips without a device.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "core/reference.h"
#include "kernels/cuda/attention/attention.h"
#include "kernels/cuda/select/mask_builders.h"
#include "kernels/cuda/select/sale.h"
#include "methods/shared/budget.h"
#include "tests/kernels/cuda/cuda_fixture.h"
#include "tests/kernels/cuda/device.h"
#include "tests/masks.h"
#include "tests/problems.h"

namespace salebench {
namespace {

using cuda::Dtype;

constexpr double kDifferingTiles = 0.001;  // of those that the CPU keeps

class CudaSelect : public NeedsCudaDevice, public testing::WithParamInterface<Dtype> {};

/// What `select` writes to a mask on the device that holds other bits at first.
template <class Select>
BlockMask device_mask(const BlockMask& like, const Select& select) {
  const DeviceArray<std::uint32_t> bits(like.bits().size());
  select(MaskView{like.view().grid, like.view().heads, bits.data()});
  check_cuda(cudaDeviceSynchronize());
  BlockMask mask(like.view().grid, like.view().heads);
  std::ranges::copy(bits.host(), mask.bits().begin());
  return mask;
}

/// SALE with one threshold for all heads, on a grid like that of another mask.
BlockMask device_sale(const RoundedProblem& p, const BlockMask& like, const cuda::SaleOptions& options,
                      float threshold) {
  const DeviceArray<float> log_thresholds(std::vector<float>(p.host.shape.q_heads, std::log(threshold)));
  const DeviceArray<char> workspace(cuda::sale_select_bytes(p.host.shape));
  return device_mask(like, [&](MaskView mask) {
    cuda::sale_select(p.view(), options, log_thresholds.data(), workspace.data(), mask, nullptr);
  });
}

TEST_P(CudaSelect, SaleOfEqualQueriesAndKeys) {
  ProblemTensors tensors = make_problem({2, 1, 1500, 1500, 64});
  std::fill(tensors.q.begin(), tensors.q.end(), 0.5f);
  std::fill(tensors.k.begin(), tensors.k.begin() + 700 * 64, 0.25f);
  const RoundedProblem p(std::move(tensors), GetParam());
  for (const int bits : {4, 8})
    for (const std::string smooth : {"qk", "k", "none"}) {
      const BlockMask expected = select("sale", p.host, {{"smooth", smooth}, {"bits", std::to_string(bits)}}, false);
      const BlockMask got = device_sale(p, expected, {bits, 4, smooth == "qk", smooth != "none"}, 0.004f);
      EXPECT_LE(difference(got, expected), kDifferingTiles * double(tiles(expected))) << smooth << " bits " << bits;
    }
}

TEST_P(CudaSelect, SaleKeepsWhatReachesItsLimitFromFarAbove) {
  // Logits that hardly differ lie above the limits by more units of their codes than a magic float holds.
  for (const auto& [bits, deviation] : {std::pair{8, 0.2f}, {8, 0.06f}, {4, 0.0035f}}) {
    ProblemTensors tensors = make_problem({2, 1, 64, 4096, 128});
    std::mt19937 random(1);
    std::normal_distribution<float> normal(0, deviation);
    const bool signs = deviation == 0.2f;
    for (auto* x : {&tensors.q, &tensors.k})
      for (float& value : *x) value = signs ? std::copysign(deviation, normal(random)) : normal(random);
    const RoundedProblem p(std::move(tensors), GetParam());
    const ParamValues settings = {{"bits", std::to_string(bits)}, {"threshold", "0.000125"}};
    const BlockMask expected = select("sale", p.host, settings, false);
    const BlockMask got = device_sale(p, expected, {.bits = bits}, 0.000125f);
    EXPECT_LE(difference(got, expected), kDifferingTiles * double(tiles(expected))) << bits << " " << deviation;
    EXPECT_GT(tiles(expected), 100) << bits << " " << deviation;
  }
}

TEST_P(CudaSelect, PackedFourBitCodesGiveTheSameMask) {
  using Int4 = cuda::SaleOptions::Int4;
  for (const Shape& shape : {Shape{2, 1, 1500, 1500, 64}, Shape{3, 1, 300, 1999, 128}, Shape{7, 1, 1030, 1301, 64}})
    for (const char* block : {"64x32", "128x64"}) {
      const RoundedProblem p(make_problem(shape), GetParam());
      const BlockMask like({parse_block(block), shape.q_len, shape.kv_len, true, std::nullopt}, shape.q_heads);
      const BlockMask lanes = device_sale(p, like, {.bits = 4, .int4 = Int4::in_8_bit_lanes}, 0.003f);
      const BlockMask packed = device_sale(p, like, {.bits = 4, .int4 = Int4::packed}, 0.003f);
      EXPECT_GT(tiles(lanes), 0);
      EXPECT_TRUE(std::ranges::equal(lanes.bits(), packed.bits())) << shape_text(shape) << " " << block;
    }
}

TEST_P(CudaSelect, TiesGoToTheLowestIndices) {
  const BlockMask like({{64, 32}, 700, 3000, true, std::nullopt}, 2);
  const BlockGrid grid = like.view().grid;
  const DeviceArray<float> scores(std::vector<float>(std::size_t(2) * grid.q_blocks() * grid.k_blocks(), -1.5f));
  const DeviceArray<double> budgets(std::vector<double>{0.5, 0.0});
  const BlockMask got =
      device_mask(like, [&](MaskView mask) { cuda::keep_best(scores.data(), budgets.data(), {}, mask, nullptr); });
  for (int qb = 0; qb < grid.q_blocks(); ++qb)
    for (int kb = 0; kb < grid.k_blocks(); ++kb) {
      EXPECT_EQ(got.view().kept(0, qb, kb), kb < (grid.causal_end(qb) + 1) / 2);
      EXPECT_EQ(got.view().kept(1, qb, kb), kb == 0);
    }
}

TEST_P(CudaSelect, BudgetsAreKeptWhereAttentionIsNotCausal) {
  for (const int sink : {0, 1, 90})  // key blocks; the diagonal's begin at 71
    for (const int local : {0, 1, 5}) {
      const BlockMask like({{64, 32}, 700, 3000, false, std::nullopt}, 1);
      const BlockGrid grid = like.view().grid;
      std::vector<float> values(std::size_t(grid.q_blocks()) * grid.k_blocks());
      for (std::size_t i = 0; i < values.size(); ++i) values[i] = float(i * 7919 % 97);
      const DeviceArray<float> scores(values);
      const DeviceArray<double> budgets(std::vector<double>{0.3});
      const BlockMask got = device_mask(like, [&](MaskView mask) {
        cuda::keep_best(scores.data(), budgets.data(), {sink, local}, mask, nullptr);
      });
      BlockMask expected(grid, 1);
      for (int qb = 0; qb < grid.q_blocks(); ++qb)
        keep_best(std::span(values).subspan(std::size_t(qb) * grid.k_blocks()), 0.3, {sink, local}, 0, qb,
                  expected.view());
      EXPECT_TRUE(std::ranges::equal(got.bits(), expected.bits())) << "sink " << sink << " local " << local;
    }
}

TEST_P(CudaSelect, BlockMassIsThatOfTheReference) {
  for (const Shape& shape : {Shape{2, 1, 500, 500, 64}, Shape{3, 1, 130, 777, 128}})
    for (const BlockSize block : {BlockSize{64, 32}, {64, 64}, {128, 32}, {128, 64}, {128, 128}})
      for (const bool causal : {true, false}) {
        RoundedProblem p(make_problem(shape), GetParam());
        p.host.causal = causal;
        const BlockGrid grid{block, shape.q_len, shape.kv_len, causal, std::nullopt};
        const DeviceArray<float> lse(std::size_t(shape.q_heads) * shape.q_len), output(p.host.q.size());
        const DeviceArray<float> mass(std::size_t(shape.q_heads) * grid.q_blocks() * grid.k_blocks());
        cuda::exact_attention(p.view(), {output.data(), lse.data()}, nullptr);
        cuda::block_mass(p.view(), lse.data(), grid, mass.data(), nullptr);
        const std::vector<float> got = mass.host();
        const auto exact = reference_block_mass(p.host.view(), reference_attention(p.host.view()).lse, grid);
        double worst = 0;
        for (std::size_t i = 0; i < exact.size(); ++i) {
          const int qb = int(i / grid.k_blocks() % grid.q_blocks()), kb = int(i % grid.k_blocks());
          if (kb < grid.causal_end(qb))
            worst = std::max(worst, std::fabs(got[i] - exact[i]) / std::max(1e-6, exact[i]));
        }
        EXPECT_LE(worst, 1e-4) << shape_text(shape);
      }
}

INSTANTIATE_TEST_SUITE_P(, CudaSelect, testing::Values(Dtype::fp16, Dtype::bf16),
                         [](const auto& info) { return info.param == Dtype::fp16 ? "fp16" : "bf16"; });

}  // namespace
}  // namespace salebench
