// StreamingLLM (arXiv 2309.17453) as a prefill pattern: the first `sink` tokens and the latest `local` ones,
// token-exact. Key j of the query at position i is kept iff j < sink or i - j < local.
// Defaults: two tiles of sink tokens and 1024 local ones, for prefill; the authors decode with 4 and 2000.
#include "core/registry.h"
#include "kernels/cuda/select/mask_builders.h"
#include "methods/shared/window_tiles.h"

namespace salebench {

class Streaming : public Method {
  int sink_ = 128;
  Knob local_{.value = 1024, .typical = {512, 1024, 2048}, .per_head = false};

 public:
  Params params() override {
    return {{"sink", "leading tokens always kept", 0, 1 << 20, &sink_},
            {"local", "latest tokens kept, a row's own included", 1, 1 << 20, &local_}};
  }
  About about() const override {
    return {
        "StreamingLLM (arXiv 2309.17453)", "none", "the first `sink` and the latest `local` tokens, exact to the token",
        "a prefill mask over the captured positions, not a cache that re-indexes them; the authors' sizes are sink 4 "
        "and local 2000"};
  }
  BlockSize block() const override { return {64, 64}; }
  bool honours_sliding_window() const override { return true; }
  std::optional<Window> window() const override { return Window{sink_, int(local_.value)}; }

  bool causal_only() const override { return true; }

  void select(const HostProblem&, MaskView mask) const override { keep_window(mask); }
  std::any device_side(const Shape&) const override { return cuda::WindowSide(); }
};

SALEBENCH_METHOD(Streaming, "streaming", 1, "StreamingLLM: attention sink and local window, token-exact");

}  // namespace salebench
