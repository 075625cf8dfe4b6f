// dense_attention() as one of the dense kernels.
#include "kernels/cuda/dense/dense_builtin.h"

namespace salebench::cuda {
namespace {

class OurPlan : public DensePlan {
 public:
  OurPlan(const DeviceProblem& problem, const DeviceAttention& out) : problem_(problem), out_(out) {}
  std::size_t workspace_bytes() const override {
    return attention_scratch_bytes(dense_grid(problem_), problem_.shape.q_heads);
  }
  void prepare(void* workspace, Stream stream) override {
    clear_attention_scratch(dense_grid(problem_), problem_.shape.q_heads, workspace, stream);
  }
  void run(void* workspace, Stream stream) override { dense_attention(problem_, out_, workspace, stream); }

 private:
  DeviceProblem problem_;
  DeviceAttention out_;
};

class OurKernel : public DenseKernel {
 public:
  std::string name() const override { return "ours"; }
  std::string version() const override { return {}; }
  std::string why_not(const Shape& shape, bool /*causal*/, float scale, Dtype /*dtype*/) const override {
    const char* const why = why_unsupported(shape, scale);
    return why ? why : "";
  }
  bool takes_sliding_window() const override { return true; }
  std::unique_ptr<DensePlan> plan(const DeviceProblem& problem, const DeviceAttention& out) const override {
    check_plan(*this, problem, out);
    return std::make_unique<OurPlan>(problem, out);
  }
};

}  // namespace

const DenseKernel& our_dense_kernel() {
  static const OurKernel kernel;
  return kernel;
}

}  // namespace salebench::cuda
