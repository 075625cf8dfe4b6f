// Methods that break in every way that a run must survive. Linked only into the test program salebench_misbehaving.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <limits>
#include <new>
#include <stdexcept>
#include <thread>
#include <vector>

#include "core/registry.h"
#include "methods/shared/budget.h"

namespace salebench {
namespace {

void hang() {
  while (true) std::this_thread::sleep_for(std::chrono::hours(1));
}
void slow() {
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
}
void throw_error() {
  throw std::runtime_error("the method gave up");
}
void run_out_of_memory() {
  throw std::bad_alloc();
}
void segfault() {
  std::signal(SIGSEGV, SIG_DFL);  // a sanitizer would turn it into an exit
  std::raise(SIGSEGV);
}

/// Keeps every causal tile, which is right; the methods below each break one thing.
class KeepsAll : public Method {
 public:
  BlockSize block() const override { return {64, 64}; }
  void select(const HostProblem&, MaskView mask) const override { keep_causal(mask); }
};

template <void (*kMisbehave)()>
class BreaksInSelect : public KeepsAll {
 public:
  void select_fast(const HostProblem& problem, MaskView mask) const override {
    kMisbehave();
    select(problem, mask);
  }
};
using Hang = BreaksInSelect<hang>;
using Throw = BreaksInSelect<throw_error>;
using Segfault = BreaksInSelect<segfault>;
using Abort = BreaksInSelect<std::abort>;
using Oom = BreaksInSelect<run_out_of_memory>;

class Slow : public BreaksInSelect<slow> {
  int variant_ = 0;

 public:
  Params params() override { return {{"variant", "changes nothing, makes many cells", 0, 1000, &variant_}}; }
};

class Nan : public KeepsAll {
 public:
  void attend(const HostProblem& problem, ConstMaskView mask, AttentionView out) const override {
    Method::attend(problem, mask, out);
    out.output.back() = std::numeric_limits<float>::quiet_NaN();
  }
};

class Unwritten : public KeepsAll {
 public:
  void attend(const HostProblem& problem, ConstMaskView mask, AttentionView out) const override {
    AttentionResult whole(problem.shape);
    Method::attend(problem, mask, whole.view());
    std::copy_n(whole.output.begin(), whole.output.size() / 2, out.output.begin());
  }
};

class Flaky : public KeepsAll {
  mutable int calls_ = 0;

 public:
  void select_fast(const HostProblem& problem, MaskView mask) const override {
    select(problem, mask);
    if (++calls_ % 2 == 0) mask.row(0, mask.grid.q_blocks() - 1)[0] &= ~1u;
  }
};

class Cheat : public KeepsAll {
  mutable bool done_ = false;

 public:
  void attend(const HostProblem& problem, ConstMaskView mask, AttentionView out) const override {
    if (!done_) Method::attend(problem, mask, out);
    done_ = true;
  }
};

/// Computes mask and output once and copies them ever after.
class Replay : public KeepsAll {
  mutable std::vector<std::uint32_t> mask_;
  mutable AttentionResult result_{Shape()};

 public:
  void select_fast(const HostProblem& problem, MaskView mask) const override {
    std::uint32_t* const bits = mask.row(0, 0);
    const std::size_t words = std::size_t(mask.heads) * mask.grid.q_blocks() * mask.grid.words();
    if (mask_.empty()) {
      select(problem, mask);
      mask_.assign(bits, bits + words);
    }
    std::ranges::copy(mask_, bits);
  }
  void attend(const HostProblem& problem, ConstMaskView mask, AttentionView out) const override {
    if (result_.output.empty()) {
      result_ = AttentionResult(problem.shape);
      Method::attend(problem, mask, result_.view());
    }
    std::ranges::copy(result_.output, out.output.begin());
    std::ranges::copy(result_.lse, out.lse.begin());
  }
};

/// Chooses by the keys, honestly, but once only: the mask is replayed, the attention over it is not.
class ReplayMask : public KeepsAll {
  mutable std::vector<std::uint32_t> mask_;

 public:
  void select(const HostProblem& problem, MaskView mask) const override {
    make_method("block_topk", {{"budget", "0.6"}})->select(problem, mask);
  }
  void select_fast(const HostProblem& problem, MaskView mask) const override {
    std::uint32_t* const bits = mask.row(0, 0);
    if (mask_.empty()) {
      select(problem, mask);
      mask_.assign(bits, bits + std::size_t(mask.heads) * mask.grid.q_blocks() * mask.grid.words());
    }
    std::ranges::copy(mask_, bits);
  }
};

class Future : public KeepsAll {
 public:
  void select(const HostProblem& problem, MaskView mask) const override {
    KeepsAll::select(problem, mask);
    mask.keep(0, 0, mask.grid.causal_end(0));
  }
};

class Refuses : public KeepsAll {
 public:
  void check_shape(const Shape&) const override { throw Unsupported("this method covers no problem at all"); }
};

}  // namespace

SALEBENCH_METHOD(Hang, "test_hang", 1, "never returns from its selection");
SALEBENCH_METHOD(Slow, "test_slow", 1, "takes its time to select");
SALEBENCH_METHOD(Throw, "test_throw", 1, "throws an exception");
SALEBENCH_METHOD(Segfault, "test_segfault", 1, "ends by SIGSEGV");
SALEBENCH_METHOD(Abort, "test_abort", 1, "ends by SIGABRT");
SALEBENCH_METHOD(Oom, "test_oom", 1, "runs out of memory");
SALEBENCH_METHOD(Nan, "test_nan", 1, "puts a NaN in the output");
SALEBENCH_METHOD(Unwritten, "test_unwritten", 1, "writes half of the output");
SALEBENCH_METHOD(Flaky, "test_flaky", 1, "selects other tiles on every other call");
SALEBENCH_METHOD(Cheat, "test_cheat", 1, "computes on its first call only");
SALEBENCH_METHOD(Replay, "test_replay", 1, "computes once and copies what it found");
SALEBENCH_METHOD(ReplayMask, "test_replay_mask", 1, "selects once and copies its mask");
SALEBENCH_METHOD(Future, "test_future", 1, "keeps a key block past the causal end");
SALEBENCH_METHOD(Refuses, "test_unsupported", 1, "supports no problem");

}  // namespace salebench
