// Attention from 8-bit operands on Hopper against its definition on the CPU. Skips without such a device.
#include <gtest/gtest.h>

#include "core/metrics.h"
#include "core/reference.h"
#include "kernels/cpu/low_bit_attention.h"
#include "kernels/cuda/attention/attention.h"
#include "tests/kernels/cuda/cuda_fixture.h"
#include "tests/kernels/cuda/device.h"
#include "tests/problems.h"

namespace salebench {
namespace {

using cuda::Dtype, cuda::Operands;

class CudaLowBit : public NeedsCudaDevice, public testing::WithParamInterface<std::tuple<Dtype, Operands>> {
 protected:
  void SetUp() override {
    NeedsCudaDevice::SetUp();
    if (IsSkipped()) return;
    if (const char* const why = cuda::why_not(cuda::AttentionKernel::hopper)) GTEST_SKIP() << why;
  }
  static Dtype dtype() { return std::get<0>(GetParam()); }
  static Operands operands() { return std::get<1>(GetParam()); }
  static const cpu::LowBitFormat& format() { return operands() == Operands::fp8 ? cpu::kFp8Format : cpu::kInt8Format; }
};

/// Over a mask, or over all keys.
AttentionResult attend(const RoundedProblem& p, const BlockMask* mask, Operands operands) {
  const cuda::DeviceProblem problem = p.view();
  const BlockGrid grid = mask ? mask->view().grid : cuda::dense_grid(problem);
  const int heads = p.host.shape.q_heads;
  const DeviceArray<char> workspace(cuda::block_index_bytes(grid, heads));
  const DeviceArray<char> rounded(cuda::low_bit_bytes(p.host.shape, operands));
  const DeviceArray<std::uint16_t> output(p.host.q.size());
  const DeviceArray<float> lse(std::size_t(heads) * p.host.shape.q_len);
  const DeviceArray<std::uint32_t> bits(mask ? std::vector<std::uint32_t>(mask->bits().begin(), mask->bits().end())
                                             : std::vector<std::uint32_t>());
  cuda::BlockIndex index = cuda::all_keys(problem, workspace.data());
  if (mask)
    index = cuda::build_block_index({grid, heads, bits.data()}, p.host.shape.kv_heads, workspace.data(), nullptr);
  else
    cuda::clear_attention_scratch(grid, heads, workspace.data(), nullptr);
  const auto low = cuda::round_operands(problem, operands, rounded.data(), nullptr);
  cuda::low_bit_attention(problem, low, index, {output.data(), lse.data()}, nullptr);
  check_cuda(cudaDeviceSynchronize());
  AttentionResult result(p.host.shape);
  result.output = from_bits(output.host(), p.dtype);
  result.lse = lse.host();
  return result;
}

/// Relative L2 error, or the largest value where the expected ones are all 0.
double error_of(const std::vector<float>& got, const std::vector<float>& expected) {
  return std::ranges::all_of(expected, [](float x) { return x == 0; })
             ? double(std::fabs(*std::ranges::max_element(got, {}, [](float x) { return std::fabs(x); })))
             : relative_l2(got, std::vector<double>(expected.begin(), expected.end()));
}

/// Codes near a tie round apart, and an e4m3 weight is over the largest logit so far, so that fp8 has other errors than
/// the definition, but none that are larger.
TEST_P(CudaLowBit, IsItsDefinition) {
  double worst = 0, worst_lse = 0;
  for (const Shape& shape : {Shape{2, 1, 77, 77, 128}, Shape{7, 1, 300, 300, 64}, Shape{4, 2, 257, 1027, 128},
                             Shape{14, 2, 128, 160, 64}, Shape{2, 2, 1500, 1500, 64}})
    for (const bool causal : {true, false}) {
      ProblemTensors tensors = make_problem(shape);
      tensors.causal = causal;
      const RoundedProblem p(std::move(tensors), dtype());
      std::vector<std::optional<BlockMask>> masks(1);
      for (const BlockSize& block : {BlockSize{64, 32}, BlockSize{128, 32}, BlockSize{128, 128}}) {
        BlockMask mask({block, shape.q_len, shape.kv_len, causal, std::nullopt}, shape.q_heads);
        std::mt19937 random(3);
        for (int head = 0; head < shape.q_heads; ++head)
          for (int qb = 0; qb < mask.view().grid.q_blocks(); ++qb)
            for (int kb = 0; kb < mask.view().grid.causal_end(qb); ++kb)
              if (random() % 3 == 0) mask.view().keep(head, qb, kb);
        masks.emplace_back(std::move(mask));
      }
      for (const auto& mask : masks) {
        SCOPED_TRACE(shape_text(shape) + (mask ? " tile " + std::to_string(mask->view().grid.block.q) : " dense"));
        AttentionResult expected(shape);
        const ConstMaskView view = mask ? std::as_const(*mask).view() : ConstMaskView{};
        cpu::low_bit_attention(p.host.view(), mask ? &view : nullptr, format(), expected.view());
        const BlockMask* const kept = mask ? &*mask : nullptr;
        const AttentionResult got = attend(p, kept, operands()), again = attend(p, kept, operands());
        EXPECT_TRUE(got.output == again.output && got.lse == again.lse);
        worst = std::max(worst, error_of(got.output, expected.output));
        const ReferenceResult exact = reference_attention(p.host.view(), mask ? &view : nullptr);
        const std::vector<float> answer(exact.output.begin(), exact.output.end());
        EXPECT_LT(error_of(got.output, answer), 1.1 * error_of(expected.output, answer) + output_tolerance(dtype()));
        for (std::size_t i = 0; i < got.lse.size(); ++i) {
          if (got.lse[i] == expected.lse[i]) continue;
          const double error = std::fabs(got.lse[i] - expected.lse[i]);
          ASSERT_TRUE(std::isfinite(error)) << i;
          worst_lse = std::max(worst_lse, error);
        }
      }
    }
  RecordProperty("worst", std::to_string(worst) + " lse " + std::to_string(worst_lse));
  EXPECT_LT(worst, operands() == Operands::fp8 ? 0.03 : 0.004);
  EXPECT_LT(worst_lse, 2e-3);
}

/// Rows of zeros have no scale, nor have keys that all are the same: their weights are equal and must stay so.
TEST_P(CudaLowBit, KeepsEqualWeightsEqual) {
  for (const Shape& shape : {Shape{2, 1, 100, 400, 128}, Shape{2, 1, 100, 400, 64}, Shape{1, 1, 1, 1, 128}})
    for (const bool zero_queries : {true, false}) {
      ProblemTensors tensors = make_problem(shape);
      for (float& x : tensors.k) x *= 30;
      if (zero_queries)
        std::ranges::fill(tensors.q, 0);
      else
        for (std::size_t i = 0; i < tensors.k.size(); ++i) tensors.k[i] = tensors.k[i % shape.head_dim];
      const RoundedProblem p(std::move(tensors), dtype());
      AttentionResult expected(shape);
      cpu::low_bit_attention(p.host.view(), nullptr, format(), expected.view());
      const AttentionResult got = attend(p, nullptr, operands());
      EXPECT_LT(error_of(got.output, expected.output), output_tolerance(dtype()));
      for (std::size_t i = 0; i < got.lse.size(); ++i)
        EXPECT_NEAR(got.lse[i], expected.lse[i], 1e-5 * std::max(1.0f, std::fabs(expected.lse[i])));
    }
}

/// What products of e4m3 lose beside a running sum shows on long rows of equal weights and biased values.
TEST_P(CudaLowBit, KeepsTheSizeOfOutputsOnLongRows) {
  for (const int dim : {64, 128}) {
    ProblemTensors tensors = make_problem({1, 1, 64, 1 << 17, dim}, 5, false);
    for (float& x : tensors.q) x *= 0.01f;
    for (float& x : tensors.v) x = 0.5f + 0.1f * x;
    const RoundedProblem p(std::move(tensors), dtype());
    const ReferenceResult exact = reference_attention(p.host.view());
    const AttentionResult got = attend(p, nullptr, operands());
    double product = 0, size = 0;
    for (std::size_t i = 0; i < exact.output.size(); ++i)
      product += got.output[i] * exact.output[i], size += exact.output[i] * exact.output[i];
    RecordProperty("gain_" + std::to_string(dim), std::to_string(product / size));
    EXPECT_NEAR(product / size, 1, 1e-3);
  }
}

std::string name_of(const testing::TestParamInfo<std::tuple<Dtype, Operands>>& info) {
  return std::string(std::get<0>(info.param) == Dtype::fp16 ? "fp16" : "bf16") +
         (std::get<1>(info.param) == Operands::fp8 ? "_fp8" : "_int8");
}

INSTANTIATE_TEST_SUITE_P(, CudaLowBit,
                         testing::Combine(testing::Values(Dtype::fp16, Dtype::bf16),
                                          testing::Values(Operands::int8, Operands::fp8)),
                         name_of);

}  // namespace
}  // namespace salebench
