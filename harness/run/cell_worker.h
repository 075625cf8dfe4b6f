// One cell in a process of its own, from its start to the result that it leaves or that says how it ended.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "harness/plan/plan.h"
#include "harness/run/run_folder.h"
#include "harness/run/worker.h"
#include "harness/support/machine_load.h"

namespace salebench {

class CellWorker {
 public:
  /// gpu: the uuid of the one that the worker sees; empty for all that this process sees. Throws WriteError.
  CellWorker(const Plan& plan, const PlannedCell& cell, const RunFolder& folder, const std::string& gpu);

  const PlannedCell& cell() const { return *cell_; }
  /// Whether the process has ended.
  bool has_ended();
  /// The result once it has; nothing if it was interrupted. Throws WriteError where results can't be written.
  std::optional<CellResult> result();

 private:
  CellResult failed(Status status, const std::string& reason, int signal = 0) const;
  CellResult timed_out() const;

  const Plan* plan_;
  const PlannedCell* cell_;
  const RunFolder* folder_;
  std::string log_;
  LoadWatch watch_;
  std::unique_ptr<Worker> worker_;
  std::optional<WorkerEnd> end_;
};

}  // namespace salebench
