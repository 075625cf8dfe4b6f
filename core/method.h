// The interface of a sparse-attention method: its parameters, its tile, how it selects tiles, how it attends to them.
#pragma once

#include <any>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/block_mask.h"
#include "core/params.h"
#include "core/problem.h"
#include "core/status.h"

namespace salebench {

/// What a method is in a comparison. An oracle looks at the true attention: a bound for others, never a competitor.
enum class Role { method, baseline, oracle };

/// How attention over a mask computes: as the shared kernel does, or from 8 bits (kernels/cpu/low_bit_attention.h).
enum class Arithmetic { exact, int8, fp8, sage };

/// What the documentation says of a method, in short phrases; docs/methods.md is made of them.
struct About {
  std::string source;      ///< paper and section, and the authors' code with its commit
  std::string statistic;   ///< what it looks at, such as "softmax of the last 64 queries against all keys"
  std::string rule;        ///< what it keeps
  std::string deviations;  ///< what differs from the authors' code, and why; empty for nothing
};

/// A method turns a problem into a block mask (select) and computes attention over it (attend). Only block() and
/// select() must be written. Methods hold parameters and what prepare() made of them, nothing else.
class Method {
 public:
  virtual ~Method() = default;

  /// Attention over the mask. Default: the shared block-sparse kernel (kernels/cpu/attention.h), in arithmetic().
  virtual void attend(const HostProblem& problem, ConstMaskView mask, AttentionView out) const;

  /// The parameters, with pointers to this object's variables. Which there are and what they allow may depend on the
  /// values of those with earlier names; throws ParamError where values don't fit together.
  virtual Params params() { return {}; }
  /// Whether users may choose the arithmetic of its attention. False for a method that brings its own attend().
  virtual bool chooses_arithmetic() const { return true; }
  /// params(), and `attend` where users may choose: what configs, results and lists go by.
  Params all_params();
  Arithmetic arithmetic() const { return arithmetic_; }
  /// Names of the parameters that heads may have each for itself, from a calibration whose heads chose.
  virtual std::vector<std::string> head_params() const { return {}; }
  /// Values of the head_params() for each query head; of none: the method's own for all. Throws ParamError.
  virtual void set_head_settings(const std::vector<ParamValues>& /*of_head*/) {}
  /// What selection multiplies, over the time of dense attention where 8-bit products take half as long as 16-bit ones:
  /// by this and the density a calibration's heads choose. NaN where nothing is said.
  virtual double selection_share() const { return std::numeric_limits<double>::quiet_NaN(); }
  /// The tile of the mask; may depend on parameters and on prepare().
  virtual BlockSize block() const = 0;
  /// A token-exact window inside the tiles, for methods that need one.
  virtual std::optional<Window> window() const { return std::nullopt; }
  virtual Role role() const { return Role::method; }
  /// Whether every row always keeps the tile of its own token; a contract test holds a method to it.
  virtual bool keeps_diagonal() const { return true; }

  virtual About about() const { return {}; }
  /// False where attend() computes something else than softmax attention over the mask: quantised, corrected, or with
  /// tiles skipped on the way. The error of the exact attention over the mask is then recorded beside the method's own.
  virtual bool exact_attend() const { return arithmetic_ == Arithmetic::exact; }
  /// Whether attend() does no more than the shared block-sparse attention over the mask, in arithmetic(). Backends that
  /// have such a kernel then run the method on a mask from the CPU where it has no device_side() for them.
  virtual bool shared_attend() const { return exact_attend() || arithmetic_ != Arithmetic::exact; }
  /// (query, key) pairs a head that attend() computes outside the mask; they count in the density.
  virtual std::int64_t extra_pairs(const HostProblem& /*problem*/) const { return 0; }

  /// Whether the method keeps to the sliding window of a layer: it selects among the tiles from
  /// BlockGrid::visible_begin on, and reads no key that no row may see. Where it does not, such layers are unsupported.
  virtual bool honours_sliding_window() const { return false; }
  /// Whether the method is defined for causal attention alone.
  virtual bool causal_only() const { return false; }
  /// Throws Unsupported with the reason for sizes, or parameters, that this method does not cover.
  virtual void check_shape(const Shape& /*shape*/) const {}
  /// Throws Unsupported with the reason for a problem this method does not cover.
  void check(const Shape& shape, bool causal) const {
    if (!causal && causal_only()) throw Unsupported("it is defined for causal attention only");
    check_shape(shape);
  }
  /// Throws Unsupported with the reason where the method, as it is parametrised, is for devices only.
  virtual void check_cpu() const {}
  /// What the reader of a result must know about this shape, such as "short input: dense"; mostly empty.
  virtual std::string remark(const Shape& /*shape*/) const { return {}; }

  /// Untimed work before the first select, such as reading a file. `id` names the problem in its capture. Throws
  /// Unsupported for a problem this method does not cover.
  virtual void prepare(const HostProblem& /*problem*/, const std::string& /*id*/) {}
  /// False where selecting is no part of the method's work, so that it is not timed: the mask comes from elsewhere and
  /// is only copied, or attend() finds it on its way and select() only says which it is.
  virtual bool has_selection() const { return true; }

  /// False where the mask depends on which head it is by more than values of a knob, as a mask from a file does. The
  /// heads of some samples change places, to find methods that hand out what they computed before.
  virtual bool treats_heads_alike() const { return true; }

  /// Sets the kept tiles of an empty mask: the plain definition, which reads like the paper.
  virtual void select(const HostProblem& problem, MaskView mask) const = 0;
  /// The tuned selection, which is what gets timed; the same mask as select() but for near-ties.
  virtual void select_fast(const HostProblem& problem, MaskView mask) const { select(problem, mask); }

  /// What a device needs to know to do as select() and attend() do but for near-ties, as the method is parametrised
  /// (values of a knob that differ by head only after prepare()): a value of a type that is this method's own. A
  /// backend runs it if it has registered the type. Empty: nothing of the method is known to devices.
  virtual std::any device_side(const Shape& /*shape*/) const { return {}; }

  /// Seed for methods that draw random numbers; the same seed gives the same mask.
  void set_seed(std::uint64_t seed) { seed_ = seed; }

 protected:
  std::uint64_t seed() const { return seed_; }

 private:
  std::uint64_t seed_ = 1;
  Arithmetic arithmetic_ = Arithmetic::exact;
};

/// The grid on which the method's mask of this problem lives.
inline BlockGrid grid_of(const Method& method, const HostProblem& p) {
  return {method.block(), p.shape.q_len, p.shape.kv_len, p.causal, method.window(), p.sliding_window};
}

}  // namespace salebench
