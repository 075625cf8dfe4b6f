// Selection on the device against the CPU's definitions, on values rounded to the storage type. Skips without a device.
#include <gtest/gtest.h>

#include <bit>
#include <fstream>

#include "core/reference.h"
#include "core/registry.h"
#include "datasets/dataset.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/devices.h"
#include "kernels/cuda/mask_builders.h"
#include "kernels/cuda/sale.h"
#include "tests/device.h"
#include "tests/problems.h"

namespace salebench {
namespace {

using cuda::Dtype;

constexpr double kDifferingTiles = 0.001;  // of those that the CPU keeps

class CudaSelect : public testing::TestWithParam<Dtype> {
 protected:
  void SetUp() override {
    const CudaDevices found = cuda_devices();
    if (found.devices.empty()) GTEST_SKIP() << found.why_none;
  }
};

const std::vector<Shape> kShapes = {{2, 1, 1500, 1500, 64}, {3, 1, 300, 1999, 128}, {2, 2, 1111, 1111, 128},
                                    {7, 1, 1030, 1301, 64}, {4, 2, 65, 3000, 128},  {1, 1, 2560, 2560, 64}};

/// The mask of the plain definition, or of the tuned selection.
BlockMask cpu_mask(const RoundedProblem& p, Method& method, bool plain) {
  const HostProblem view = p.host.view();
  BlockMask mask(grid_of(method, view), p.host.shape.q_heads);
  plain ? method.select(view, mask.view()) : method.select_fast(view, mask.view());
  return mask;
}

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

BlockMask device_sale(const RoundedProblem& p, const BlockMask& like, const cuda::SaleOptions& options,
                      std::vector<float> thresholds) {
  for (float& t : thresholds) t = t < 1e-5f ? -std::numeric_limits<float>::infinity() : std::log(t);
  const DeviceArray<float> device_thresholds(thresholds);
  const DeviceArray<char> workspace(cuda::sale_select_bytes(p.host.shape));
  return device_mask(like, [&](MaskView mask) {
    cuda::sale_select(p.view(), options, device_thresholds.data(), workspace.data(), mask, nullptr);
  });
}

struct Difference {
  std::int64_t tiles = 0, kept = 0;

  void add(const BlockMask& got, const BlockMask& expected) {
    for (std::size_t i = 0; i < got.bits().size(); ++i) {
      tiles += std::popcount(got.bits()[i] ^ expected.bits()[i]);
      kept += std::popcount(expected.bits()[i]);
    }
  }
  double share() const { return double(tiles) / double(kept); }
};

std::string dtype_name(Dtype dtype) {
  return dtype == Dtype::fp16 ? "fp16" : "bf16";
}

TEST_P(CudaSelect, SaleIsThatOfTheCpu) {
  Difference all;
  for (const Shape& shape : kShapes) {
    const RoundedProblem p(make_problem(shape), GetParam());
    for (const int bits : {4, 8, 16})
      for (const char* smooth : {"qk", "k", "none"})
        for (const int local : {3, 8}) {
          SCOPED_TRACE(shape_text(shape) + " bits " + std::to_string(bits) + " smooth " + smooth);
          const auto method = make_method("sale", {{"bits", std::to_string(bits)},
                                                   {"smooth", smooth},
                                                   {"threshold", "0.002"},
                                                   {"local_blocks", std::to_string(local)}});
          const BlockMask expected = cpu_mask(p, *method, bits == 4 && local == 3);
          const cuda::SaleOptions options{bits, local, std::string(smooth) == "qk", std::string(smooth) != "none"};
          const BlockMask got = device_sale(p, expected, options, std::vector<float>(shape.q_heads, 0.002f));
          Difference one;
          one.add(got, expected);
          all.add(got, expected);
          EXPECT_LE(one.share(), kDifferingTiles) << one.tiles << " of " << one.kept;
        }
  }
  RecordProperty("differing_tiles", std::to_string(all.tiles) + " of " + std::to_string(all.kept));
}

TEST_P(CudaSelect, SaleOfOtherTilesIsThatOfTheCpu) {
  Difference all;
  for (const Shape& shape : kShapes) {
    const RoundedProblem p(make_problem(shape), GetParam());
    for (const int bits : {4, 16})
      for (const char* block : {"64x64", "128x32", "128x64", "128x128"})
        for (const int local : {1, 6}) {
          SCOPED_TRACE(shape_text(shape) + " bits " + std::to_string(bits) + " tile " + block);
          const auto method = make_method("sale", {{"bits", std::to_string(bits)},
                                                   {"block", block},
                                                   {"threshold", "0.005"},
                                                   {"local_blocks", std::to_string(local)}});
          const BlockMask expected = cpu_mask(p, *method, false);
          const BlockMask got = device_sale(p, expected, {bits, local}, std::vector<float>(shape.q_heads, 0.005f));
          Difference one;
          one.add(got, expected);
          all.add(got, expected);
          EXPECT_LE(one.share(), kDifferingTiles) << one.tiles << " of " << one.kept;
        }
  }
  RecordProperty("differing_tiles", std::to_string(all.tiles) + " of " + std::to_string(all.kept));
}

TEST_P(CudaSelect, PackedFourBitCodesGiveTheSameMask) {
  using Int4 = cuda::SaleOptions::Int4;
  for (const Shape& shape : kShapes)
    for (const char* block : {"64x32", "128x64"}) {
      const RoundedProblem p(make_problem(shape), GetParam());
      const BlockMask like = cpu_mask(p, *make_method("sale", {{"block", block}}), false);
      const std::vector<float> thresholds(shape.q_heads, 0.003f);
      const BlockMask lanes = device_sale(p, like, {.bits = 4, .int4 = Int4::in_8_bit_lanes}, thresholds);
      const BlockMask packed = device_sale(p, like, {.bits = 4, .int4 = Int4::packed}, thresholds);
      EXPECT_TRUE(std::ranges::equal(lanes.bits(), packed.bits())) << shape_text(shape) << " " << block;
    }
}

TEST_P(CudaSelect, SaleHasAThresholdAHeadAndDenseHeads) {
  const Shape shape{4, 2, 1500, 1700, 64};
  const RoundedProblem p(make_problem(shape), GetParam());
  const std::vector<float> thresholds = {0.02f, 0.0f, 0.0005f, 0.005f};
  for (const int bits : {4, 8, 16}) {
    std::vector<BlockMask> expected;
    for (const float threshold : thresholds)
      expected.push_back(cpu_mask(
          p, *make_method("sale", {{"bits", std::to_string(bits)}, {"threshold", std::to_string(threshold)}}), false));
    const BlockMask got = device_sale(p, expected[0], {.bits = bits}, thresholds);
    const std::size_t head_words = got.bits().size() / 4;
    for (int head = 0; head < 4; ++head) {
      int different = 0;
      for (std::size_t i = head * head_words; i < (head + 1) * head_words; ++i)
        different += std::popcount(got.bits()[i] ^ expected[head].bits()[i]);
      EXPECT_LE(different, head == 1 ? 0 : 1) << "head " << head << " bits " << bits;
    }
  }
}

TEST_P(CudaSelect, SaleOfEqualQueriesAndKeys) {
  ProblemTensors tensors = make_problem({2, 1, 1500, 1500, 64});
  std::fill(tensors.q.begin(), tensors.q.end(), 0.5f);
  std::fill(tensors.k.begin(), tensors.k.begin() + 700 * 64, 0.25f);
  const RoundedProblem p(std::move(tensors), GetParam());
  for (const int bits : {4, 8})
    for (const std::string smooth : {"qk", "k", "none"}) {
      const auto method = make_method("sale", {{"smooth", smooth}, {"bits", std::to_string(bits)}});
      const BlockMask expected = cpu_mask(p, *method, true);
      const BlockMask got = device_sale(p, expected, {bits, 4, smooth == "qk", smooth != "none"}, {0.004f, 0.004f});
      Difference one;
      one.add(got, expected);
      EXPECT_LE(one.share(), kDifferingTiles) << smooth << " bits " << bits << ": " << one.tiles << " of " << one.kept;
    }
}

TEST_P(CudaSelect, SaleOnTheSample) {
  const char* const file = SALEBENCH_SOURCE_DIR "/datasets/samples/smollm2-135m_kjv_8k.h5";
  if (!std::ifstream(file)) GTEST_SKIP() << "no " << file;
  const Dataset sample(file);
  for (const ProblemInfo& info : sample.problems()) {
    const RoundedProblem p(sample.load(info.id), GetParam());
    for (const int bits : {4, 8, 16}) {
      const BlockMask expected = cpu_mask(p, *make_method("sale", {{"bits", std::to_string(bits)}}), false);
      const BlockMask got = device_sale(p, expected, {.bits = bits}, std::vector<float>(p.host.shape.q_heads, 0.004f));
      Difference one;
      one.add(got, expected);
      EXPECT_LE(one.share(), kDifferingTiles);
      RecordProperty(info.id + "_bits_" + std::to_string(bits),
                     std::to_string(one.tiles) + " of " + std::to_string(one.kept));
    }
  }
}

TEST_P(CudaSelect, StreamingIsThatOfTheCpu) {
  for (const Shape& shape : kShapes)
    for (const auto& [sink, local] : {std::pair{128, 1024}, {1, 1}, {0, 77}, {500, 300}}) {
      const RoundedProblem p(make_problem(shape), GetParam());
      const BlockMask expected = cpu_mask(
          p, *make_method("streaming", {{"sink", std::to_string(sink)}, {"local", std::to_string(local)}}), true);
      const BlockMask got = device_mask(expected, [](MaskView mask) { cuda::window_mask(mask, nullptr); });
      EXPECT_TRUE(std::ranges::equal(got.bits(), expected.bits())) << shape_text(shape);
    }
}

TEST_P(CudaSelect, BlockTopkIsThatOfTheCpu) {
  Difference all;
  for (const Shape& shape : kShapes)
    for (const char* block : {"64x32", "64x64", "128x32", "128x64", "128x128"})
      for (const auto& [sink, local] : {std::pair{1, 1}, {0, 4}, {30, 40}}) {
        const RoundedProblem p(make_problem(shape), GetParam());
        const auto method = make_method(
            "block_topk",
            {{"budget", "0.3"}, {"block", block}, {"sink", std::to_string(sink)}, {"local", std::to_string(local)}});
        const BlockMask expected = cpu_mask(p, *method, true);
        const BlockGrid grid = expected.view().grid;
        const DeviceArray<float> scores(std::size_t(shape.q_heads) * grid.q_blocks() * grid.k_blocks());
        const DeviceArray<double> budgets(std::vector<double>(shape.q_heads, 0.3));
        const DeviceArray<char> workspace(cuda::pooled_scores_bytes(shape, grid.block));
        const BlockMask got = device_mask(expected, [&](MaskView mask) {
          cuda::pooled_scores(p.view(), grid, workspace.data(), scores.data(), nullptr);
          cuda::keep_best(scores.data(), budgets.data(), {sink, local}, mask, nullptr);
        });
        all.add(got, expected);
        EXPECT_EQ(count_mask(got.view(), 0).tiles, count_mask(expected.view(), 0).tiles);
      }
  EXPECT_LE(all.share(), kDifferingTiles) << all.tiles << " of " << all.kept;
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
                         [](const auto& info) { return dtype_name(info.param); });

}  // namespace
}  // namespace salebench
