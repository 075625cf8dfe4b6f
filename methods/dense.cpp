// Dense attention: every causal tile, through the dense kernel. The baseline of speedups and the zero of errors; with
// `attend: sage`, the reference for the error of 8-bit attention without any sparsity.
#include "core/registry.h"
#include "kernels/cpu/attention.h"
#include "methods/budget.h"
#include "methods/sage_attend.h"

namespace salebench {

class Dense : public Method {
  std::string attend_ = "exact";

 public:
  Params params() override {
    return {{"attend", "exact, or SageAttention's int8 Q and K", {"exact", "sage"}, &attend_}};
  }
  About about() const override {
    return {"exact softmax attention; SageAttention (arXiv 2410.02367) with attend: sage", "none", "every causal tile",
            "sage: int8 values computed in float32, P and V not rounded"};
  }
  BlockSize block() const override { return {64, 64}; }
  Role role() const override { return Role::baseline; }
  bool exact_attend() const override { return attend_ == "exact"; }

  void select(const HostProblem&, MaskView mask) const override { keep_causal(mask); }

  void attend(const HostProblem& problem, ConstMaskView, AttentionView out) const override {
    if (attend_ == "sage")
      sage_attend(problem, nullptr, out);
    else
      cpu::dense_attention(problem, out);
  }
};

SALEBENCH_METHOD(Dense, "dense", 1, "exact attention over all causal tiles");

}  // namespace salebench
