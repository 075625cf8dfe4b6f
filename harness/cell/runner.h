// A method at work on one problem, on one backend: what cell_bench.h times and checks, and `calibrate` scores.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/block_mask.h"
#include "core/cell.h"
#include "core/method.h"
#include "core/truth.h"
#include "harness/cell/changed_tensors.h"
#include "harness/cell/measure.h"

namespace salebench {

/// What a runner works on. All of it outlives the runner.
struct RunnerInputs {
  Method& method;  ///< prepared for the tensors
  const ProblemTensors& tensors;
  const ProblemInfo& problem;
  const Truth* truth = nullptr;  ///< null where the backend makes its own
  bool cold = true;              ///< evict inputs and outputs before each sample
};

/// How what a run left differs from what it was to repeat.
struct RepeatDifference {
  bool other_tiles = false;
  double relative_l2 = 0;  ///< of the outputs
};

/// The phases of a method, with the buffers for mask and output that they fill.
class Runner {
 public:
  virtual ~Runner() = default;

  /// Sizes of the problem.
  virtual Shape shape() const = 0;
  /// Which phases are timed; attend always is.
  virtual bool has_selection() const = 0;
  virtual bool has_index() const { return false; }
  /// The backend on which the mask is selected; "" where the method selects nothing.
  virtual std::string selected_on() const = 0;
  /// The kernel that attends, where the backend has several.
  virtual std::string attend_kernel() const { return {}; }
  /// What the reader of the result must know of how this backend does it; mostly empty.
  virtual std::string remark() const { return {}; }

  /// Fills mask and output with what no run leaves, so that what a run does not write is found.
  virtual void poison() = 0;
  /// One selection, not timed as results have it: wall seconds where it runs on the host.
  virtual double select() = 0;
  /// The attention of the same run, lists included. Where `only` are rows to be scored, tiles of query blocks without
  /// any may be dropped first.
  virtual double attend(const RowSet& only = {}) = 0;
  /// Both, timed. A mask that is no part of the work is made before.
  virtual PhaseTimes sample() = 0;

  /// The mask that the last run left.
  virtual BlockMask mask() const = 0;
  /// The first output value of the last run that is infinite or NaN: its place and value.
  virtual std::optional<std::pair<std::size_t, double>> first_not_finite() const = 0;
  /// Attends to the mask of the last run exactly, into a buffer of its own, for score().
  virtual void attend_exactly() = 0;
  /// Sums of the last run over the rows of a set.
  virtual std::vector<HeadSums> score(const RowSet& rows = {}) = 0;
  /// The rows that are scored at most.
  virtual int scored_rows() const = 0;

  /// What the last run left is what samples must repeat.
  virtual void expect_last() = 0;
  /// Samples must repeat what turned heads and a negated V make of that. False if that is not known.
  virtual bool expect_turned(const HeadTurn& turn) = 0;
  /// Samples must repeat what a method gives that was prepared for the tensors as they are.
  virtual void expect_fresh(const Method& fresh) = 0;
  /// Samples must repeat again what expect_last() kept.
  virtual void expect_original() = 0;
  virtual RepeatDifference difference() const = 0;

  /// Whether heads may change places between samples.
  virtual bool may_turn_heads() const = 0;
  /// Whether values that knobs have for each head follow when they do.
  virtual bool knobs_follow() const = 0;
  /// The tensors have other values now.
  virtual void take_tensors() = 0;

  /// Makes a method ready as the baseline, beside which samples are taken.
  virtual void start_baseline(const std::string& method) = 0;
  /// Seconds of one run of its attention.
  virtual double sample_baseline() = 0;
  /// What runs it, where there is a choice.
  virtual std::string baseline_kernel() const { return {}; }

  /// Notes the device and what it holds.
  virtual void note(CellProvenance& /*provenance*/) const {}
  /// Readings of the device's sensors, JSON; "" for none.
  virtual std::string readings() const { return {}; }
};

/// A method at work on a backend, by its name. Throws Unsupported where
/// the build has no such devices; Backend::why_none() tells whether this machine has.
std::unique_ptr<Runner> make_runner(const std::string& backend, const RunnerInputs& inputs);

}  // namespace salebench
