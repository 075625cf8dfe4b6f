// What cells run on: the CPU, and each kind of device. harness/cell/runner.h has methods at work there.
#pragma once

#include <string>
#include <vector>

#include "core/method.h"

namespace salebench {

class Backend {
 public:
  virtual ~Backend() = default;

  /// What configs and results call it.
  virtual std::string name() const = 0;
  /// Why this machine, or this build, has none; empty if it has.
  virtual std::string why_none() const { return {}; }
  /// Why a method, as it is parametrised, does not run a problem at a shape here; empty if it does. Needs no device.
  virtual std::string why_not(const Method& method, const ProblemInfo& problem, const Shape& shape) const = 0;
  /// How the method selects here, for `salebench list`: "selects on the device", "mask from the CPU", "on the device"
  /// where nothing is selected, or "" where it does not run.
  virtual std::string selection(const Method& method) const = 0;
  /// Whether truths come from the backend itself, for all rows, instead of the cache.
  virtual bool makes_truth(int truth_rows) const = 0;
  /// FLOP/s to plan with, given what a probe found of the CPU.
  virtual double planned_flops(double cpu_flops) const { return cpu_flops; }
};

/// The uuids of all GPUs, or of those with these numbers. Throws NoDevice for one that this machine does not have.
std::vector<std::string> gpus_called(bool all, const std::vector<int>& numbers);

/// All that the program knows, whatever this build has; the CPU first.
const std::vector<const Backend*>& backends();

/// Throws std::invalid_argument naming those that there are.
const Backend& backend_called(const std::string& name);

}  // namespace salebench
