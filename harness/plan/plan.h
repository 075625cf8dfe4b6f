// A sweep expanded to its cells, each with an id that names all that defines it. Stored as plan.json in the run's
// folder: the worker of a cell reads it from there.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/cell.h"
#include "core/method.h"
#include "core/problem.h"
#include "datasets/dataset.h"
#include "harness/plan/config.h"
#include "harness/plan/name_filter.h"
#include "harness/support/errors.h"
#include "results/schema.h"

namespace salebench {

struct PlannedCell : CellSettings {
  std::shared_ptr<const ProblemInfo> problem;  ///< as captured
  int length = 0;                              ///< of its prefix that is used; 0 for the whole
  std::string dataset_name;       ///< what tells its path from those of others in the plan; empty if it is the only one
  std::string truth_fingerprint;  ///< of the problem with one copy of the heads, which is what the truth cache holds
  std::string unsupported;        ///< why the method can't run this problem; empty if it can
  std::string doubt;              ///< how the capture contradicts itself; empty if it does not
  int order = 0;                  ///< its place in the whole sweep
  std::string waits_for;          ///< why this machine can't run it, which another may; empty if it can

  ProblemView view() const { return {length, repeat}; }
  Shape shape() const { return Dataset::shape_of(*problem, view()); }
  /// The method with its parameters.
  std::unique_ptr<Method> make() const;
  /// "sale threshold=0.004 | layer17_kv1 8192"
  std::string title() const;
};

/// Everything that a worker needs to know.
struct Plan {
  SweepConfig sweep;
  bool quick = false;                ///< every cell once; its time is marked unusable
  std::string note;                  ///< what --note said, for the cells that are measured now
  std::string folder;                ///< of the run, absolute
  std::string shard;                 ///< "2/3" for the second of three parts of a sweep; empty for all of it
  int whole = 0;                     ///< cells of all parts, where this is one
  std::vector<std::string> gpus;     ///< uuids of those that cells are spread over; empty for what CUDA takes first
  std::vector<std::string> plugins;  ///< files that methods came from, absolute
  std::vector<PlannedCell> cells;

  const PlannedCell& cell(const std::string& id) const;  ///< throws UsageError
  std::vector<ProblemRecord> problems() const;           ///< those that cells refer to, each once
};

/// A view of a problem, loaded once to check its values and take its fingerprint.
struct CheckedView {
  std::string dataset, dataset_label;
  std::shared_ptr<const ProblemInfo> problem;
  ProblemView view;
  Shape shape;
  std::string fingerprint, truth_fingerprint;
  std::string doubt;  ///< how the capture contradicts itself; empty if it does not
};

/// The problems that a config selects, in order. Throws DataError.
std::vector<CheckedView> check_datasets(const std::vector<DatasetConfig>& datasets);

/// "method", "baseline" or "oracle".
std::string role_name(Role role);

/// What a method with its parameters is, `settings` being those that the config sets; threads are left to the caller.
MethodOnData method_on_data(const std::string& name, Method& method, const ParamValues& settings,
                            const std::string& dataset, const std::string& fingerprint);

/// Expands a sweep: opens every capture, reads and checks the tensors of every selected problem. Equal cells appear
/// once. Throws UsageError or DataError before anything is measured.
Plan make_plan(SweepConfig sweep, bool quick);

/// What `--only` and `--skip` name among the ids and labels of a plan's cells.
ChoiceFilter cell_filter(const Plan& plan, const Choice& choice);

/// Whether a filter takes the id or the label of a cell.
bool matches(const PlannedCell& cell, const ChoiceFilter& filter);

std::string plan_to_json(const Plan& plan);
Plan plan_from_json(const std::string& text);

}  // namespace salebench
