#include "harness/cell/cuda/cuda_baseline.h"

#include <functional>
#include <limits>

#include "core/registry.h"
#include "core/stats.h"
#include "kernels/cuda/dense/dense_kernels.h"

namespace salebench {
namespace {

/// Runs that choose between dense kernels, which differ by tens of per cent.
constexpr int kRaces = 3;

}  // namespace

CudaBaseline::CudaBaseline(const std::string& method, const cuda::DeviceInputs& cell, bool cold) : timer_(1, cold) {
  if (method == "dense") {
    take_fastest_dense(cell);
    return;
  }
  const auto made = make_method(method);
  const BlockMask shape(grid_of(*made, cell.host), cell.problem.shape.q_heads);
  mask_ = cuda::DeviceVector<std::uint32_t>(shape.bits().size());
  cuda::DeviceInputs in = cell;
  in.mask = {shape.view().grid, shape.view().heads, mask_.data()};
  bound_ = cuda::bind(*made, in);
  kernel_ = method;
  bound_->select(nullptr);
  bound_->index(nullptr);
  sample();
}

double CudaBaseline::sample() {
  const std::function<void()> attend = [this] { bound_->attend(nullptr); };
  return timer_.sample({}, {&attend, 1}, nullptr).total;
}

void CudaBaseline::take_fastest_dense(const cuda::DeviceInputs& in) {
  const cuda::DeviceProblem& p = in.problem;
  double best = std::numeric_limits<double>::infinity();
  std::string best_name;
  const auto bind = [&](const std::string& name) {
    bound_.reset();  // its workspace goes before the next one comes
    bound_ = cuda::bind(*make_method("dense", {{"kernel", name}}), in);
    sample();
  };
  std::string bound_name;
  for (const cuda::DenseKernel* kernel : cuda::dense_kernels()) {
    if (kernel->name() == cuda::kCudnnFp8) continue;  // not exact
    if (!cuda::why_not(*kernel, p).empty()) continue;
    bind(bound_name = kernel->name());
    std::vector<double> seconds;
    for (int i = 0; i < kRaces; ++i) seconds.push_back(sample());
    if (const double s = median(seconds); s < best) best = s, best_name = bound_name, kernel_ = full_name(*kernel);
  }
  if (bound_name != best_name) bind(best_name);
}

}  // namespace salebench
