// Every dense CUDA kernel that is built in, against the double reference. Skips without a device, and kernels that
// can't run on this machine.
#include <gtest/gtest.h>

#include "core/reference.h"
#include "kernels/cuda/dense/dense_kernels.h"
#include "tests/kernels/cuda/cuda_fixture.h"
#include "tests/kernels/cuda/device.h"
#include "tests/problems.h"

namespace salebench {
namespace {

using cuda::DenseKernel;
using cuda::Dtype;

const std::vector<Shape> kShapes = {
    {1, 1, 1, 1, 64},     {2, 1, 77, 77, 128},  {7, 1, 300, 300, 64},   {7, 1, 257, 513, 128}, {3, 3, 200, 333, 128},
    {2, 2, 256, 256, 64}, {2, 1, 1, 700, 128},  {14, 2, 128, 160, 64},  {2, 1, 65, 1000, 128}, {4, 2, 1027, 1027, 64},
    {2, 2, 200, 200, 64}, {4, 1, 384, 900, 64}, {1, 1, 1500, 1500, 128}};

/// Of e4m3 with one scale a tensor, on values that are spread evenly.
constexpr double kFp8Tolerance = 0.1, kFp8LseTolerance = 0.1;

/// What a plan wrote: bits of the output, and log-sum-exp.
struct Written {
  std::vector<std::uint16_t> output;
  std::vector<float> lse;
};

/// Plans and runs in a stream of its own. All memory is poisoned before.
Written run(const DenseKernel& kernel, const RoundedProblem& p, bool with_lse = true) {
  const Shape& s = p.host.shape;
  const DeviceArray<std::uint16_t> output(p.host.q.size());
  const DeviceArray<float> lse(std::size_t(s.q_heads) * s.q_len);
  const auto plan = kernel.plan(p.view(), {output.data(), with_lse ? lse.data() : nullptr});
  const DeviceArray<char> workspace(plan->workspace_bytes());
  cudaStream_t stream = nullptr;
  check_cuda(cudaDeviceSynchronize());
  check_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  plan->prepare(workspace.data(), stream);
  plan->run(workspace.data(), stream);
  check_cuda(cudaStreamSynchronize(stream));
  const Written once{output.host(), lse.host()};
  plan->run(workspace.data(), stream);
  check_cuda(cudaStreamSynchronize(stream));
  check_cuda(cudaStreamDestroy(stream));
  EXPECT_EQ(output.host(), once.output) << "the second run of a plan differs";
  if (with_lse) {
    EXPECT_EQ(lse.host(), once.lse) << "the second run of a plan differs";
  }
  return once;
}

class CudaDense : public NeedsCudaDevice, public testing::WithParamInterface<Dtype> {
 protected:
  /// The kernels that can run here; says which can't.
  static std::vector<const DenseKernel*> usable() {
    std::vector<const DenseKernel*> kernels;
    for (const DenseKernel* kernel : cuda::dense_kernels()) {
      const std::string why = kernel->why_not({2, 1, 300, 300, 128}, true, 1.0f, GetParam());
      if (why.empty())
        kernels.push_back(kernel);
      else
        std::cout << kernel->name() << " is left out: " << why << "\n";
    }
    return kernels;
  }

  /// So many query rows, or as many as keys where the kernel takes no fewer.
  static int rows_for(const DenseKernel& kernel, int q_len, int kv_len) {
    return kernel.why_not({2, 1, q_len, kv_len, 64}, true, 1.0f, GetParam()).empty() ? q_len : kv_len;
  }
};

TEST_P(CudaDense, AgreesWithTheReference) {
  const auto kernels = usable();
  std::vector<double> worst(kernels.size()), worst_lse(kernels.size());
  for (const Shape& shape : kShapes)
    for (const bool causal : {true, false}) {
      RoundedProblem p(make_problem(shape), GetParam());
      p.host.causal = causal;
      const ReferenceResult exact = reference_attention(p.host.view());
      for (std::size_t i = 0; i < kernels.size(); ++i) {
        SCOPED_TRACE(kernels[i]->name() + ", " + shape_text(shape) + (causal ? " causal" : ""));
        const bool fp8 = kernels[i]->name() == cuda::kCudnnFp8;
        if (fp8 && (shape.q_len == 1 || (causal && shape.q_len != shape.kv_len))) {
          EXPECT_FALSE(why_not(*kernels[i], p.view()).empty());
          continue;
        }
        const Written got = run(*kernels[i], p);
        const double error = relative_l2(from_bits(got.output, GetParam()), exact.output);
        EXPECT_LE(error, fp8 ? kFp8Tolerance : output_tolerance(GetParam()));
        worst[i] = std::max(worst[i], error);
        double lse_error = 0;
        for (std::size_t row = 0; row < exact.lse.size(); ++row) {
          const double relative = std::fabs(got.lse[row] - exact.lse[row]) / std::max(1.0, std::fabs(exact.lse[row]));
          lse_error = relative <= lse_error ? lse_error : relative;  // keeps a NaN
        }
        EXPECT_LE(lse_error, fp8 ? kFp8LseTolerance : kLseTolerance);
        worst_lse[i] = std::max(worst_lse[i], lse_error);
      }
    }
  for (std::size_t i = 0; i < kernels.size(); ++i) {
    RecordProperty(kernels[i]->name() + "_worst_relative_l2", std::to_string(worst[i]));
    std::printf("%-10s %-26s worst relative L2 %.2e, log-sum-exp %.2e\n", kernels[i]->name().c_str(),
                kernels[i]->version().c_str(), worst[i], worst_lse[i]);
  }
}

TEST_P(CudaDense, ALogSumExpIsOptional) {
  for (const DenseKernel* kernel : usable()) {
    const RoundedProblem p(make_problem({4, 2, rows_for(*kernel, 300, 500), 500, 64}), GetParam());
    EXPECT_EQ(run(*kernel, p, false).output, run(*kernel, p).output);
  }
}

TEST_P(CudaDense, TwoPlansGiveTheSameBits) {
  const RoundedProblem p(make_problem({8, 2, 3000, 3000, 128}), GetParam());
  for (const DenseKernel* kernel : usable()) {
    SCOPED_TRACE(kernel->name());
    const Written a = run(*kernel, p), b = run(*kernel, p);
    EXPECT_EQ(a.output, b.output);
    EXPECT_EQ(a.lse, b.lse);
  }
}

/// A stream under capture refuses calls that wait for the device or allocate.
TEST_P(CudaDense, RunOnlyLaunches) {
  for (const DenseKernel* kernel : usable()) {
    SCOPED_TRACE(kernel->name());
    const RoundedProblem p(make_problem({8, 2, rows_for(*kernel, 1000, 1500), 1500, 128}), GetParam());
    const DeviceArray<std::uint16_t> output(p.host.q.size());
    const DeviceArray<float> lse(std::size_t(8) * p.host.shape.q_len);
    const auto plan = kernel->plan(p.view(), {output.data(), lse.data()});
    const DeviceArray<char> workspace(plan->workspace_bytes());
    cudaStream_t stream = nullptr;
    check_cuda(cudaStreamCreate(&stream));
    plan->prepare(workspace.data(), stream);
    plan->run(workspace.data(), stream);  // loads the kernel's code
    check_cuda(cudaStreamSynchronize(stream));
    const auto first = output.host();
    check_cuda(cudaMemset(output.data(), 0xff, 2 * output.size()));
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t program = nullptr;
    check_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    plan->run(workspace.data(), stream);
    check_cuda(cudaStreamEndCapture(stream, &graph));
    check_cuda(cudaGraphInstantiate(&program, graph, 0));
    check_cuda(cudaGraphLaunch(program, stream));
    check_cuda(cudaStreamSynchronize(stream));
    EXPECT_EQ(output.host(), first);
    check_cuda(cudaGraphExecDestroy(program));
    check_cuda(cudaGraphDestroy(graph));
    check_cuda(cudaStreamDestroy(stream));
  }
}

INSTANTIATE_TEST_SUITE_P(, CudaDense, testing::Values(Dtype::fp16, Dtype::bf16),
                         [](const auto& info) { return info.param == Dtype::fp16 ? "fp16" : "bf16"; });

TEST(CudaDenseKernels, OursIsFirstAndNamesFindThem) {
  const auto& kernels = cuda::dense_kernels();
  ASSERT_FALSE(kernels.empty());
  EXPECT_EQ(kernels.front()->name(), "ours");
  for (const DenseKernel* kernel : kernels) EXPECT_EQ(&cuda::dense_kernel(kernel->name()), kernel);
  for (const auto& [name, cure] : cuda::missing_dense_kernels()) {
    try {
      cuda::dense_kernel(name);
      ADD_FAILURE() << name << " was found";
    } catch (const std::invalid_argument& error) {
      EXPECT_NE(std::string(error.what()).find(cure), std::string::npos) << error.what();
    }
  }
  EXPECT_EQ(kernels.size() + cuda::missing_dense_kernels().size(), 5u);
  EXPECT_THROW(cuda::dense_kernel("cublas"), std::invalid_argument);
}

TEST(CudaDenseKernels, PlansRefuseWhatTheyCannotDo) {
  for (const DenseKernel* kernel : cuda::dense_kernels()) {
    const cuda::DeviceProblem wide{{2, 1, 10, 10, 96}, true, 1.0f, Dtype::bf16, nullptr, nullptr, nullptr};
    EXPECT_FALSE(kernel->why_not(wide.shape, true, 1.0f, Dtype::bf16).empty());
    EXPECT_FALSE(kernel->why_not({2, 1, 10, 10, 64}, true, 0.0f, Dtype::bf16).empty());
    EXPECT_THROW(kernel->plan(wide, {}), std::invalid_argument);
  }
}

}  // namespace
}  // namespace salebench
