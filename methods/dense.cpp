// Dense attention: every causal tile, through the dense kernel. The baseline of speedups and the zero of errors; with
// `attend` or cuDNN's FP8, the reference for the error of 8-bit attention without any sparsity.
#include "core/registry.h"
#include "kernels/cuda/dense/dense_kernels.h"
#include "methods/shared/attend_in.h"
#include "methods/shared/budget.h"

namespace salebench {

class Dense : public Method {
  std::string kernel_ = "ours";

 public:
  Params params() override {
    return {
        {"kernel",
         "whose kernel; on backend cuda also those of others, where they are built in (salebench info); cudnn_fp8 is "
         "not exact",
         {"ours", "cudnn", cuda::kCudnnFp8, "flashinfer", "fa3"},
         &kernel_}};
  }
  About about() const override { return {"exact softmax attention", "none", "every causal tile", ""}; }
  BlockSize block() const override { return {64, 64}; }
  bool honours_sliding_window() const override { return true; }
  Role role() const override { return Role::baseline; }
  bool exact_attend() const override { return kernel_ != cuda::kCudnnFp8 && Method::exact_attend(); }
  bool shared_attend() const override { return false; }
  bool has_selection() const override { return false; }
  void check_cpu() const override {
    if (kernel_ != "ours") throw Unsupported("kernel " + kernel_ + " is for devices");
  }
  std::any device_side(const Shape&) const override {
    return cuda::DenseSide{kernel_, arithmetic() != Arithmetic::exact};
  }

  void select(const HostProblem&, MaskView mask) const override { keep_causal(mask); }

  void attend(const HostProblem& problem, ConstMaskView, AttentionView out) const override {
    attend_in(arithmetic(), problem, nullptr, out);
  }
};

SALEBENCH_METHOD(Dense, "dense", 1, "exact attention over all causal tiles");

}  // namespace salebench
