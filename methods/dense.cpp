// Dense attention: every causal tile, through the dense kernel. The baseline of speedups and the zero of errors; with
// `attend: sage`, the reference for the error of 8-bit attention without any sparsity.
#include "core/registry.h"
#include "kernels/cpu/attention.h"
#include "kernels/cuda/dense/dense_kernels.h"
#include "methods/shared/budget.h"
#include "methods/shared/sage_attend.h"

namespace salebench {

class Dense : public Method {
  enum class Attend { exact, sage } attend_ = Attend::exact;
  std::string kernel_ = "ours";

 public:
  Params params() override {
    return {{"attend",
             "exact, or SageAttention's int8 Q and K",
             {{"exact", Attend::exact}, {"sage", Attend::sage}},
             &attend_},
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
  bool exact_attend() const override { return attend_ == Attend::exact; }

  bool shared_attend() const override { return false; }
  bool has_selection() const override { return false; }
  void check_cpu() const override {
    if (kernel_ != "ours") throw Unsupported("kernel " + kernel_ + " is for devices");
  }
  std::any device_side(const Shape&) const override {
    return exact_attend() ? std::any(cuda::DenseSide{kernel_}) : std::any();
  }

  void select(const HostProblem&, MaskView mask) const override { keep_causal(mask); }

  void attend(const HostProblem& problem, ConstMaskView, AttentionView out) const override {
    if (attend_ == Attend::sage)
      sage_attend(problem, nullptr, out);
    else
      cpu::dense_attention(problem, out);
  }
};

SALEBENCH_METHOD(Dense, "dense", 1, "exact attention over all causal tiles");

}  // namespace salebench
