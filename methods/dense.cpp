// Dense attention: every causal tile, through the dense kernel. The baseline of speedups and the zero of errors.
#include "core/registry.h"
#include "kernels/cpu/attention.h"
#include "methods/budget.h"

namespace salebench {

class Dense : public Method {
 public:
  About about() const override { return {"exact softmax attention", "none", "every causal tile", ""}; }
  BlockSize block() const override { return {64, 64}; }
  Role role() const override { return Role::baseline; }

  void select(const HostProblem&, MaskView mask) const override { keep_causal(mask); }

  void attend(const HostProblem& problem, ConstMaskView, AttentionView out) const override {
    cpu::dense_attention(problem, out);
  }
};

SALEBENCH_METHOD(Dense, "dense", 1, "exact attention over all causal tiles");

}  // namespace salebench
