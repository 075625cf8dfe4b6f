// Tri-shape (SCBench, arXiv 2412.10319; MInference's code): A-shape, and the last n_last query rows dense. Key j of the
// query at position i is kept iff j < n_init or i - j < n_local, or if the query is one of the last n_last.
#include "core/registry.h"
#include "kernels/cuda/select/mask_builders.h"
#include "methods/shared/window_tiles.h"

namespace salebench {

class TriShape : public Method {
  int n_init_ = 128;
  Knob n_local_{.value = 3968, .typical = {896, 1920, 3968}, .per_head = false};
  int n_last_ = 100;

 public:
  Params params() override {
    return {{"n_init", "leading tokens always kept", 0, 1 << 20, &n_init_},
            {"n_local", "latest tokens kept, a row's own included", 1, 1 << 20, &n_local_},
            {"n_last", "last query rows that are dense", 0, 1 << 20, &n_last_}};
  }
  About about() const override {
    return {"SCBench (arXiv 2412.10319), code in MInference's repository at fb56c91", "none",
            "the first n_init and the latest n_local tokens, exact to the token; all of them for the last n_last rows",
            ""};
  }
  BlockSize block() const override { return {64, 64}; }
  bool honours_sliding_window() const override { return true; }
  std::optional<Window> window() const override { return Window{n_init_, int(n_local_.value), n_last_}; }

  bool causal_only() const override { return true; }
  std::string remark(const Shape& shape) const override {
    return shape.q_len <= n_last_ ? "dense: last rows only" : "";
  }

  void select(const HostProblem&, MaskView mask) const override { keep_window(mask); }
  std::any device_side(const Shape&) const override { return cuda::WindowSide(); }
};

SALEBENCH_METHOD(TriShape, "tri_shape", 1, "tri-shape: A-shape with the last rows dense");

}  // namespace salebench
