// FlashAttention-3 as one of the dense kernels.
#include "kernels/cuda/dense/dense_fa3.h"

#include "kernels/cuda/dense/dense_builtin.h"

namespace salebench::cuda {
namespace {

constexpr std::size_t kCounterBytes = 256;

class Fa3Plan : public DensePlan {
 public:
  Fa3Plan(const DeviceProblem& problem, const DeviceAttention& out) : p_(problem), out_(out) {}

  std::size_t workspace_bytes() const override {  // the kernel always writes its log-sum-exp
    const std::size_t rows = std::size_t(p_.shape.q_heads) * p_.shape.q_len;
    return kCounterBytes + (out_.lse ? 0 : rows * sizeof(float));
  }

  void run(void* workspace, Stream stream) override {
    auto* const counter = static_cast<std::int32_t*>(workspace);
    float* const lse = out_.lse ? out_.lse : reinterpret_cast<float*>(static_cast<char*>(workspace) + kCounterBytes);
    const auto launch = [&](auto* run) { run(p_, out_.output, lse, counter, stream); };
    const bool narrow = p_.shape.head_dim == 64;
    if (p_.dtype == Dtype::fp16)
      launch(narrow ? fa3_attention<Fa3Half, 64> : fa3_attention<Fa3Half, 128>);
    else
      launch(narrow ? fa3_attention<Fa3Bfloat16, 64> : fa3_attention<Fa3Bfloat16, 128>);
  }

 private:
  DeviceProblem p_;
  DeviceAttention out_;
};

class Fa3Kernel : public DenseKernel {
 public:
  std::string name() const override { return "fa3"; }
  std::string version() const override { return SALEBENCH_FA3_VERSION; }
  std::string why_not(const Shape& shape, bool /*causal*/, float scale, Dtype /*dtype*/) const override {
    if (const char* const why = why_unsupported(shape, scale)) return why;
    return why_not_hopper();
  }
  std::unique_ptr<DensePlan> plan(const DeviceProblem& problem, const DeviceAttention& out) const override {
    check_plan(*this, problem, out);
    return std::make_unique<Fa3Plan>(problem, out);
  }
};

}  // namespace

const DenseKernel& fa3_dense_kernel() {
  static const Fa3Kernel kernel;
  return kernel;
}

}  // namespace salebench::cuda
