// Dense attention: every causal tile, through the dense kernel. The baseline of speedups and the zero of errors; with
// `attend: sage`, the reference for the error of 8-bit attention without any sparsity.
#include "core/registry.h"
#include "kernels/cpu/attention.h"
#include "kernels/cuda/dense_kernels.h"
#include "methods/budget.h"
#include "methods/on_device.h"
#include "methods/sage_attend.h"

namespace salebench {

class Dense : public Method {
  std::string attend_ = "exact";
  std::string kernel_ = "ours";

 public:
  Params params() override {
    return {{"attend", "exact, or SageAttention's int8 Q and K", {"exact", "sage"}, &attend_},
            {"kernel",
             "whose kernel; on backend cuda also those of others, where they are built in (salebench info)",
             {"ours", "cudnn", "flashinfer", "fa3"},
             &kernel_}};
  }
  About about() const override {
    return {"exact softmax attention; SageAttention (arXiv 2410.02367) with attend: sage", "none", "every causal tile",
            "sage: int8 values computed in float32, P and V not rounded"};
  }
  BlockSize block() const override { return {64, 64}; }
  bool honours_sliding_window() const override { return true; }
  Role role() const override { return Role::baseline; }
  bool exact_attend() const override { return attend_ == "exact"; }

  void check_backend(Backend backend) const override {
    if (backend == Backend::cpu && kernel_ != "ours") throw Unsupported("kernel " + kernel_ + " is for backend cuda");
    if (backend == Backend::cpu) return;
    if (attend_ != "exact") throw Unsupported("attend: sage has no CUDA kernel");
    if (kernel_ == "ours") return;  // whatever this build has, as for other methods
    try {
      cuda::dense_kernel(kernel_);
    } catch (const std::invalid_argument& error) {
      throw Unsupported(error.what());
    }
  }

  void select(const HostProblem&, MaskView mask) const override { keep_causal(mask); }
  BoundMethod on_device(const cuda::DeviceInputs& in) const override { return dense_on_device(kernel_, in); }

  void attend(const HostProblem& problem, ConstMaskView, AttentionView out) const override {
    if (attend_ == "sage")
      sage_attend(problem, nullptr, out);
    else
      cpu::dense_attention(problem, out);
  }
};

SALEBENCH_METHOD(Dense, "dense", 1, "exact attention over all causal tiles");

}  // namespace salebench
