// A-shape (MInference, arXiv 2407.02490): the first n_init tokens and the latest n_local ones, token-exact. Key j of
// the query at position i is kept iff j < n_init or i - j < n_local: StreamingLLM's rule as a prefill pattern, with the
// sizes of MInference's configurations. The window counts the token itself, as their kernel does (their search code
// does not).
#include "core/registry.h"
#include "kernels/cuda/select/mask_builders.h"
#include "methods/shared/window_tiles.h"

namespace salebench {

class AShape : public Method {
  int n_init_ = 128;
  Knob n_local_{.value = 3968, .typical = {896, 1920, 3968}, .per_head = false};

 public:
  Params params() override {
    return {{"n_init", "leading tokens always kept", 0, 1 << 20, &n_init_},
            {"n_local", "latest tokens kept, a row's own included", 1, 1 << 20, &n_local_}};
  }
  About about() const override {
    return {"MInference (arXiv 2407.02490), authors' code at fb56c91", "none",
            "the first n_init and the latest n_local tokens, exact to the token", ""};
  }
  BlockSize block() const override { return {64, 64}; }
  bool honours_sliding_window() const override { return true; }
  std::optional<Window> window() const override { return Window{n_init_, int(n_local_.value)}; }

  bool causal_only() const override { return true; }

  void select(const HostProblem&, MaskView mask) const override { keep_window(mask); }
  std::any device_side(const Shape&) const override { return cuda::WindowSide(); }
};

SALEBENCH_METHOD(AShape, "a_shape", 1, "A-shape: first and latest tokens, at MInference's sizes");

}  // namespace salebench
