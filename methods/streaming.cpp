// StreamingLLM (arXiv 2309.17453) as a prefill pattern: the first `sink` tokens and the latest `local` ones,
// token-exact. Key j of the query at position i is kept iff j < sink or i - j < local.
#include "core/registry.h"

namespace salebench {

class Streaming : public Method {
  int sink_ = 128;
  Knob local_{.value = 1024, .per_head = false};

 public:
  Params params() override {
    return {{"sink", "leading tokens always kept", 0, 1 << 20, &sink_},
            {"local", "latest tokens kept, a row's own included", 1, 1 << 20, &local_}};
  }
  About about() const override {
    return {"StreamingLLM (arXiv 2309.17453)", "none",
            "the first `sink` and the latest `local` tokens, exact to the token",
            "a prefill mask over the captured positions, not a cache that re-indexes them"};
  }
  BlockSize block() const override { return {64, 64}; }
  std::optional<Window> window() const override { return Window{sink_, int(local_.value)}; }

  void select(const HostProblem&, MaskView mask) const override {
    const BlockGrid& grid = mask.grid;
    for (int head = 0; head < mask.heads; ++head) {
      for (int qb = 0; qb < grid.q_blocks(); ++qb) {
        const int first_local = grid.position(grid.q_begin(qb)) - int(local_.value) + 1;  // of the block's first row
        for (int kb = 0; kb < grid.causal_end(qb); ++kb)
          if (grid.k_begin(kb) < sink_ || grid.k_end(kb) > first_local) mask.keep(head, qb, kb);
      }
    }
  }
};

SALEBENCH_METHOD(Streaming, "streaming", 1, "StreamingLLM: attention sink and local window, token-exact");

}  // namespace salebench
