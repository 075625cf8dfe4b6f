// What the cells of all backends share: loading the problem and the method, what the accuracy pass must find, and the
// figures that go into the result.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>

#include "core/method.h"
#include "core/metrics.h"
#include "datasets/dataset.h"
#include "harness/measure.h"
#include "harness/plan.h"
#include "results/result_files.h"

namespace salebench {

/// The cell's result is wrong, whatever its time.
struct Incorrect : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Two runs of the same kernel on the same input differ by no more than this, relative L2: reductions across threads
/// may be reordered, nothing else.
inline constexpr double kRepeatTolerance = 1e-6;

/// The cell's problem with one copy of its heads. Throws DataError if it is not the one that was planned.
ProblemTensors load_problem(const PlannedCell& cell);

/// A method ready to select; `remark` says where calibrated values come from other data. Throws Unsupported.
std::unique_ptr<Method> prepared_method(const Plan& plan, const PlannedCell& cell, const HostProblem& problem,
                                        std::string& remark);

/// Two remarks as one.
std::string joined(const std::string& a, const std::string& b);

[[noreturn]] void throw_not_finite(double value, std::size_t index, const Shape& shape);
[[noreturn]] void throw_unseen_tile(int head, int q_block, int k_block);
[[noreturn]] void throw_other_tiles();
[[noreturn]] void throw_other_output(double relative_l2);
/// Runs a check of a run on changed tensors; what it throws says that they were changed.
void on_changed_tensors(const std::function<void()>& check);

void record_accuracy(const ProblemAccuracy& accuracy, CellResult& result);
void record_times(const Samples& samples, bool quick, std::uint64_t seed, CellResult& result);

}  // namespace salebench
