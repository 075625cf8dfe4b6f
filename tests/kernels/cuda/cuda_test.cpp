// CUDA attention and metrics against the double reference and the CPU's definitions. Skips without a device.
#include <gtest/gtest.h>

#include <bit>

#include "core/metrics.h"
#include "core/reference.h"
#include "kernels/cuda/attention/attention.h"
#include "kernels/cuda/check/mask_recall.h"
#include "kernels/cuda/check/metrics.h"
#include "tests/kernels/cuda/cuda_fixture.h"
#include "tests/kernels/cuda/device.h"
#include "tests/problems.h"

namespace salebench {
namespace {

using cuda::Dtype;

constexpr double kExactTolerance = 3e-5;  // relative L2 of float32 truth against double

class Cuda : public NeedsCudaDevice, public testing::WithParamInterface<Dtype> {};

const std::vector<Shape> kShapes = {
    {1, 1, 1, 1, 64},   {2, 1, 77, 77, 128},   {7, 1, 300, 300, 64},  {7, 1, 257, 513, 128},  {3, 3, 200, 333, 128},
    {2, 2, 64, 64, 64}, {14, 2, 128, 160, 64}, {2, 1, 65, 1000, 128}, {4, 2, 1027, 1027, 64}, {1, 1, 1500, 1500, 128}};
/// Causal or not, and sliding windows.
const std::vector<std::pair<bool, int>> kRules = {{true, 0}, {false, 0}, {true, 1}, {true, 40}, {true, 200}};
const std::vector<BlockSize> kBlocks = {{64, 32}, {64, 64}, {128, 32}, {128, 64}, {128, 128}};

BlockMask random_mask(const Shape& s, BlockSize block, std::optional<Window> window, bool causal, unsigned seed,
                      int sliding_window = 0) {
  BlockMask mask({block, s.q_len, s.kv_len, causal, window, sliding_window}, s.q_heads);
  std::mt19937 random(seed);
  const BlockGrid grid = mask.view().grid;
  for (int head = 0; head < s.q_heads; ++head)
    for (int qb = 0; qb < grid.q_blocks(); ++qb)
      for (int kb = grid.visible_begin(qb); kb < grid.causal_end(qb); ++kb)
        if (random() % 3 == 0) mask.view().keep(head, qb, kb);
  return mask;
}

void expect_lse(const std::vector<float>& got, const std::vector<double>& exact) {
  int shown = 0;
  for (std::size_t i = 0; i < exact.size() && shown < 3; ++i) {
    const bool good = std::isinf(exact[i])
                          ? got[i] == exact[i]
                          : std::fabs(got[i] - exact[i]) <= kLseTolerance * std::max(1.0, std::fabs(exact[i]));
    if (good) continue;
    ++shown;
    ADD_FAILURE() << "log-sum-exp of row " << i << " is " << got[i] << ", exact " << exact[i];
  }
}

/// Raises `worst` to the relative L2 error, which the test records.
void expect_output(const std::vector<float>& got, const std::vector<double>& exact, double limit, double& worst) {
  double size = 0;
  for (const double x : exact) size += std::fabs(x);
  const double error = size > 0 ? relative_l2(got, exact) : std::fabs(got[0]);
  EXPECT_LE(error, limit);
  worst = std::max(worst, error);
}

/// Attention over a mask on the device, by the fastest kernel or the given one: output and log-sum-exp on the host.
AttentionResult attend(const RoundedProblem& p, const BlockMask& mask,
                       std::optional<cuda::AttentionKernel> kernel = std::nullopt) {
  const DeviceArray<std::uint32_t> bits(std::vector<std::uint32_t>(mask.bits().begin(), mask.bits().end()));
  const DeviceArray<char> workspace(cuda::block_index_bytes(mask.view().grid, p.host.shape.q_heads));
  const DeviceArray<std::uint16_t> output(p.host.q.size());
  const DeviceArray<float> lse(std::size_t(p.host.shape.q_heads) * p.host.shape.q_len);
  const auto index = cuda::build_block_index({mask.view().grid, p.host.shape.q_heads, bits.data()},
                                             p.host.shape.kv_heads, workspace.data(), nullptr);
  cuda::block_sparse_attention(p.view(), index, {output.data(), lse.data()}, kernel.value_or(cuda::fastest_kernel()),
                               nullptr);
  check_cuda(cudaDeviceSynchronize());
  AttentionResult result(p.host.shape);
  result.output = from_bits(output.host(), p.dtype);
  result.lse = lse.host();
  return result;
}

TEST_P(Cuda, DenseAttention) {
  double worst = 0;
  for (const Shape& shape : kShapes)
    for (const auto& [causal, window] : kRules) {
      if (window >= shape.kv_len) continue;
      SCOPED_TRACE(shape_text(shape) + (causal ? " causal, sliding window " + std::to_string(window) : ""));
      RoundedProblem p(make_problem(shape), GetParam());
      p.host.causal = causal, p.host.sliding_window = window;
      const DeviceArray<std::uint16_t> output(p.host.q.size());
      const DeviceArray<float> lse(std::size_t(shape.q_heads) * shape.q_len);
      const DeviceArray<char> scratch(
          std::vector<char>(cuda::attention_scratch_bytes(cuda::dense_grid(p.view()), shape.q_heads), 0));
      cuda::dense_attention(p.view(), {output.data(), lse.data()}, scratch.data(), nullptr);
      const ReferenceResult exact = reference_attention(p.host.view());
      expect_output(from_bits(output.host(), GetParam()), exact.output, output_tolerance(GetParam()), worst);
      expect_lse(lse.host(), exact.lse);
    }
  RecordProperty("worst_relative_l2", std::to_string(worst));
}

TEST_P(Cuda, ExactAttention) {
  double worst = 0;
  for (const Shape& shape : kShapes)
    for (const int window : {0, 1, 40, 200}) {
      if (window >= shape.kv_len) continue;
      SCOPED_TRACE(shape_text(shape) + " sliding window " + std::to_string(window));
      RoundedProblem p(make_problem(shape), GetParam());
      p.host.sliding_window = window;
      const DeviceArray<float> output(p.host.q.size()), lse(std::size_t(shape.q_heads) * shape.q_len);
      cuda::exact_attention(p.view(), {output.data(), lse.data()}, nullptr);
      const ReferenceResult exact = reference_attention(p.host.view());
      expect_output(output.host(), exact.output, kExactTolerance, worst);
      expect_lse(lse.host(), exact.lse);
    }
  RecordProperty("worst_relative_l2", std::to_string(worst));
}

TEST_P(Cuda, BlockSparseAttention) {
  double worst = 0;
  unsigned seed = 1;
  for (const Shape& shape : kShapes)
    for (const BlockSize& block : kBlocks)
      for (const auto& [causal, window] : kRules) {
        if (window >= shape.kv_len) continue;
        SCOPED_TRACE(shape_text(shape) + " tile " + std::to_string(block.q) + "x" + std::to_string(block.k) +
                     (causal ? " causal, sliding window " + std::to_string(window) : ""));
        RoundedProblem p(make_problem(shape), GetParam());
        p.host.causal = causal, p.host.sliding_window = window;
        const BlockMask mask = random_mask(shape, block, std::nullopt, causal, ++seed, window);
        const ConstMaskView view = mask.view();
        const ReferenceResult exact = reference_attention(p.host.view(), &view);
        const AttentionResult got = attend(p, mask);
        expect_output(got.output, exact.output, output_tolerance(GetParam()), worst);
        expect_lse(got.lse, exact.lse);
      }
  RecordProperty("worst_relative_l2", std::to_string(worst));
}

/// Forty early keys outweigh the rest by some 2^300, more than the base of a softmax that began elsewhere has room for.
TEST_P(Cuda, EarlyKeysMayOutweighAllOthers) {
  double worst = 0;
  for (const Shape& shape : {Shape{4, 2, 1500, 1500, 64}, Shape{2, 1, 900, 1300, 128}}) {
    ProblemTensors problem = make_problem(shape);
    for (std::size_t row = 0; row < problem.q.size() / shape.head_dim; ++row)
      problem.q[row * shape.head_dim] = row / 300 % 2 ? 16.0f : 0.0f;
    for (std::size_t key = 0; key < problem.k.size() / shape.head_dim; ++key)
      problem.k[key * shape.head_dim] = key % shape.kv_len < 40 ? 150.0f : 0.0f;
    const RoundedProblem p(problem, GetParam());
    for (const BlockSize& block : kBlocks) {
      const BlockMask mask = random_mask(shape, block, std::nullopt, true, 3);
      const ConstMaskView view = mask.view();
      const ReferenceResult exact = reference_attention(p.host.view(), &view);
      const AttentionResult got = attend(p, mask), again = attend(p, mask);
      expect_output(got.output, exact.output, output_tolerance(GetParam()), worst);
      expect_lse(got.lse, exact.lse);
      EXPECT_TRUE(got.output == again.output && got.lse == again.lse);
    }
  }
}

/// Many items of work a CTA, of lengths from nothing to all: the lists of a head's blocks keep 0, 1, 2, ... of 16
/// tiles.
TEST_P(Cuda, KernelsAgreeOnManyItems) {
  for (const Shape& shape : {Shape{8, 2, 8000, 8101, 64}, Shape{8, 4, 6400, 6400, 128}}) {
    const RoundedProblem p(make_problem(shape), GetParam());
    for (const BlockSize& block : kBlocks) {
      SCOPED_TRACE(shape_text(shape) + " tile " + std::to_string(block.q) + "x" + std::to_string(block.k));
      BlockMask mask({block, shape.q_len, shape.kv_len, true, std::nullopt}, shape.q_heads);
      const BlockGrid grid = mask.view().grid;
      std::mt19937 random(7);
      for (int head = 0; head < shape.q_heads; ++head)
        for (int qb = 0; qb < grid.q_blocks(); ++qb)
          for (int kb = 0; kb < grid.causal_end(qb); ++kb)
            if (int(random() % 16) < (head + qb) % 17) mask.view().keep(head, qb, kb);
      const AttentionResult fast = attend(p, mask), again = attend(p, mask);
      const AttentionResult portable = attend(p, mask, cuda::AttentionKernel::portable);
      EXPECT_EQ(fast.output, again.output);
      EXPECT_EQ(fast.lse, again.lse);
      double worst = 0;
      expect_output(fast.output, {portable.output.begin(), portable.output.end()}, output_tolerance(GetParam()), worst);
      expect_lse(fast.lse, {portable.lse.begin(), portable.lse.end()});
    }
  }
}

TEST_P(Cuda, WindowsAreExactToTheToken) {
  double worst = 0;
  for (const Shape& shape : {Shape{2, 1, 300, 700, 64}, Shape{1, 1, 500, 500, 128}})
    for (const BlockSize& block : kBlocks)
      for (const Window window : {Window{5, 77, 0}, Window{128, 33, 100}, Window{0, 1, 3}}) {
        SCOPED_TRACE(shape_text(shape));
        const RoundedProblem p(make_problem(shape), GetParam());
        BlockMask mask({block, shape.q_len, shape.kv_len, true, window}, shape.q_heads);
        for (int head = 0; head < shape.q_heads; ++head)
          for (int qb = 0; qb < mask.view().grid.q_blocks(); ++qb)
            mask.view().keep_range(head, qb, 0, mask.view().grid.causal_end(qb));
        const ConstMaskView view = mask.view();
        const ReferenceResult exact = reference_attention(p.host.view(), &view);
        const AttentionResult got = attend(p, mask);
        expect_output(got.output, exact.output, output_tolerance(GetParam()), worst);
        expect_lse(got.lse, exact.lse);
      }
  RecordProperty("worst_relative_l2", std::to_string(worst));
}

TEST_P(Cuda, AnEmptyMaskGivesZeros) {
  const RoundedProblem p(make_problem({2, 1, 200, 300, 64}), GetParam());
  const AttentionResult got = attend(p, BlockMask({{64, 64}, 200, 300, true, std::nullopt}, 2));
  for (const float x : got.output) ASSERT_EQ(x, 0);
  for (const float x : got.lse) ASSERT_EQ(x, -std::numeric_limits<float>::infinity());
}

TEST_P(Cuda, CountsAndErrorsAreThoseOfTheCpu) {
  for (const Shape& shape : {Shape{3, 1, 700, 1000, 64}, Shape{2, 2, 333, 333, 128}})
    for (const BlockSize& block : kBlocks)
      for (const auto& [window, sliding] : {std::pair<std::optional<Window>, int>(std::nullopt, 0),
                                            {Window{40, 100, 70}, 0},
                                            {std::nullopt, 130},
                                            {Window{40, 100, 70}, 130}}) {
        RoundedProblem p(make_problem(shape), GetParam());
        p.host.sliding_window = sliding;
        const BlockMask mask = random_mask(shape, block, window, true, 3, sliding);
        const DeviceArray<std::uint32_t> bits(std::vector<std::uint32_t>(mask.bits().begin(), mask.bits().end()));
        const DeviceArray<MaskCounts> counts(std::size_t(shape.q_heads));
        cuda::count_masks({mask.view().grid, shape.q_heads, bits.data()}, counts.data(), nullptr);
        for (int head = 0; head < shape.q_heads; ++head) {
          const MaskCounts got = counts.host()[head], expected = count_mask(mask.view(), head);
          EXPECT_EQ(got.tiles, expected.tiles);
          EXPECT_EQ(got.causal_tiles, expected.causal_tiles);
          EXPECT_EQ(got.tokens, expected.tokens);
          EXPECT_EQ(got.dense_tokens, expected.dense_tokens);
          EXPECT_EQ(got.executed_tokens, expected.executed_tokens);
        }
        const AttentionResult result = attend(p, mask);
        const Truth truth = compute_truth(p.host.view(), sample_rows(shape.q_len, 0, 1));
        const ProblemAccuracy accuracy =
            measure_accuracy(shape, truth, mask.view(), result.output,
                             reference_recall(p.host.view(), mask.view(), truth.rows, truth.lse));
        std::vector<float> output = result.output;
        const DeviceArray<std::uint16_t> device_output(round_to(output, GetParam()));
        const DeviceArray<float> exact(truth.output);
        const DeviceArray<ErrorSums> errors(std::size_t(shape.q_heads));
        const DeviceArray<char> workspace(cuda::compare_outputs_bytes(shape));
        cuda::compare_outputs({shape, GetParam(), device_output.data(), exact.data()}, workspace.data(), errors.data(),
                              nullptr);
        for (int head = 0; head < shape.q_heads; ++head) {
          const ErrorSums got = errors.host()[head];
          const Accuracy& expected = accuracy.heads[head];
          EXPECT_NEAR(std::sqrt(got.difference_squared / got.exact_squared), expected.rel_l2, 1e-4 * expected.rel_l2);
          EXPECT_NEAR(got.absolute / shape.q_len, expected.l1_per_token, 1e-4 * expected.l1_per_token);
          EXPECT_NEAR(got.max_abs, expected.max_abs, 1e-5 * expected.max_abs);
          EXPECT_NEAR(got.cos_min, expected.cos_min, 1e-5);
          EXPECT_NEAR(got.product / got.exact_squared, expected.gain, 1e-5);
        }
        cuda::compare_outputs({shape, GetParam(), device_output.data(), device_output.data(), true}, workspace.data(),
                              errors.data(), nullptr);
        for (const ErrorSums& same : errors.host()) EXPECT_EQ(same.difference_squared, 0);
      }
}

/// Recall of each row on the device.
std::vector<double> device_recall(const RoundedProblem& p, const BlockMask& mask) {
  const DeviceArray<std::uint32_t> bits(std::vector<std::uint32_t>(mask.bits().begin(), mask.bits().end()));
  const DeviceArray<double> recall(std::size_t(p.host.shape.q_heads) * p.host.shape.q_len);
  cuda::mask_recall(p.view(), {mask.view().grid, mask.view().heads, bits.data()}, recall.data(), nullptr);
  check_cuda(cudaDeviceSynchronize());
  return recall.host();
}

TEST_P(Cuda, RecallIsThatOfTheReferenceAndOfAFullMaskOne) {
  double worst = 0;
  for (const Shape& shape : kShapes)
    for (const BlockSize& block : kBlocks)
      for (const auto& [causal, window] : kRules) {
        if (window >= shape.kv_len) continue;
        SCOPED_TRACE(shape_text(shape) + " sliding window " + std::to_string(window));
        RoundedProblem p(make_problem(shape), GetParam());
        p.host.causal = causal, p.host.sliding_window = window;
        const Truth truth = compute_truth(p.host.view(), sample_rows(shape.q_len, 0, 1));
        const BlockMask mask = random_mask(shape, block, std::nullopt, causal, 7, window);
        const auto expected = reference_recall(p.host.view(), mask.view(), truth.rows, truth.lse);
        const std::vector<double> got = device_recall(p, mask);
        for (std::size_t i = 0; i < got.size(); ++i) worst = std::max(worst, std::fabs(got[i] - expected[i]));
        BlockMask full(mask.view().grid, shape.q_heads);
        for (int head = 0; head < shape.q_heads; ++head)
          for (int qb = 0; qb < full.view().grid.q_blocks(); ++qb)
            full.view().keep_range(head, qb, full.view().grid.visible_begin(qb), full.view().grid.causal_end(qb));
        for (const double recall : device_recall(p, full)) ASSERT_EQ(recall, 1.0);
      }
  EXPECT_LE(worst, 1e-11);
  RecordProperty("worst_recall_difference", std::to_string(worst));
}

TEST_P(Cuda, RecallOfAFullMaskIsOneWhateverTheLogits) {
  const Shape shape{2, 1, 500, 500, 128};
  for (const double size : {1.0, 1e2, 1e4, 1e5}) {
    ProblemTensors biased = make_problem(shape);
    const float bias = float(std::sqrt(size / biased.scale));
    for (auto* values : {&biased.q, &biased.k})
      for (std::size_t i = 5; i < values->size(); i += 128) (*values)[i] += bias;
    const RoundedProblem p(std::move(biased), GetParam());
    BlockMask full({{64, 32}, 500, 500, true, {}}, 2);
    for (int head = 0; head < 2; ++head)
      for (int qb = 0; qb < full.view().grid.q_blocks(); ++qb)
        full.view().keep_range(head, qb, 0, full.view().grid.causal_end(qb));
    for (const double recall : device_recall(p, full)) ASSERT_EQ(recall, 1.0) << "logits of " << size;
    const BlockMask part = random_mask(shape, {64, 32}, std::nullopt, true, 3);
    const Truth truth = compute_truth(p.host.view(), sample_rows(500, 0, 1));
    const auto expected = reference_recall(p.host.view(), part.view(), truth.rows, truth.lse);
    const std::vector<double> got = device_recall(p, part);
    for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], expected[i], 1e-9) << "logits of " << size;
  }
}

INSTANTIATE_TEST_SUITE_P(, Cuda, testing::Values(Dtype::fp16, Dtype::bf16),
                         [](const auto& info) { return info.param == Dtype::fp16 ? "fp16" : "bf16"; });

}  // namespace
}  // namespace salebench
