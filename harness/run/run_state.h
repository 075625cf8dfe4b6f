// What a run has found by now: the results of its finished cells, read once and kept up to date while it goes on.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "harness/plan/plan.h"
#include "harness/run/run_folder.h"
#include "results/result_files.h"

namespace salebench {

class RunState {
 public:
  /// Nothing is finished.
  RunState() = default;
  /// Reads the files of the plan's finished cells.
  RunState(const RunFolder& folder, const Plan& plan);

  bool has(const std::string& id) const { return done_.contains(id); }
  /// The result of a finished cell; null for any other.
  const CellResult* result(const std::string& id) const;
  /// Its record alone.
  const CellRecord* find(const std::string& id) const;
  /// How many planned cells have no result that this machine could give.
  int unfinished(const Plan& plan) const;
  /// A cell is about to be measured anew.
  void forget(const std::string& id) { done_.erase(id); }
  /// Takes what a cell's file holds, if there is one. A file that can't be read was damaged from outside and counts as
  /// none: its cell is run again.
  void read(const RunFolder& folder, const std::string& id);
  void add(const RunFolder& folder, CellResult result);

  /// The results of all planned cells, in order; those that are not finished are `interrupted`.
  std::vector<CellResult> results(const Plan& plan) const;
  /// Their records alone.
  std::vector<CellRecord> records(const Plan& plan) const;
  /// Writes the folder's run.h5. Throws WriteError.
  void collect(const RunFolder& folder, const Plan& plan, RunAttributes attributes) const;

 private:
  /// What run.h5 says of cells whose files are those that it was made of.
  void take_unchanged(const RunFolder& folder);

  std::map<std::string, CellResult> done_;
  std::map<std::string, std::string> stamps_;  ///< of the files that these come from
};

}  // namespace salebench
