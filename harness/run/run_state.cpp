#include "harness/run/run_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "core/hdf5.h"
#include "core/status.h"
#include "harness/cell/cell.h"

namespace salebench {

RunState::RunState(const RunFolder& folder, const Plan& plan) {
  const std::vector<std::string> ids = folder.finished_ids();
  const std::set<std::string> finished(ids.begin(), ids.end());
  take_unchanged(folder);
  for (const PlannedCell& cell : plan.cells)
    if (finished.contains(cell.id) && !done_.contains(cell.id)) read(folder, cell.id);
}

void RunState::take_unchanged(const RunFolder& folder) {
  const auto stamps = folder.stamps();
  if (stamps.empty()) return;
  std::vector<CellResult> collected;
  try {
    collected = read_run_results(folder.run_path());
  } catch (const h5::Error&) {
    return;  // damaged from outside: all are read from their own files
  }
  for (CellResult& result : collected) {
    const std::string id = result.cell.id;
    const auto stamp = stamps.find(id);
    if (stamp == stamps.end() || stamp->second != RunFolder::stamp_of(folder.cell_path(id))) continue;
    done_[id] = std::move(result), stamps_[id] = stamp->second;
  }
}

void RunState::add(const RunFolder& folder, CellResult result) {
  const std::string id = result.cell.id;
  stamps_[id] = RunFolder::stamp_of(folder.cell_path(id));
  done_[id] = std::move(result);
}

void RunState::read(const RunFolder& folder, const std::string& id) {
  const std::string path = folder.cell_path(id);
  const std::string stamp = RunFolder::stamp_of(path);
  if (stamp.empty()) return;
  try {
    done_[id] = read_cell(path);
    stamps_[id] = stamp;
  } catch (const h5::Error&) {
    // Unfinished: cells are written whole.
  }
}

const CellResult* RunState::result(const std::string& id) const {
  const auto found = done_.find(id);
  return found == done_.end() ? nullptr : &found->second;
}

const CellRecord* RunState::find(const std::string& id) const {
  const CellResult* const found = result(id);
  return found ? &found->cell : nullptr;
}

int RunState::unfinished(const Plan& plan) const {
  return int(std::ranges::count_if(plan.cells,
                                   [&](const PlannedCell& cell) { return !has(cell.id) && cell.waits_for.empty(); }));
}

std::vector<CellResult> RunState::results(const Plan& plan) const {
  std::vector<CellResult> results;
  for (const PlannedCell& cell : plan.cells) {
    if (const auto found = done_.find(cell.id); found != done_.end()) {
      results.push_back(found->second);
      CellRecord& record = results.back().cell;
      record.dataset = cell.dataset;  // which may have moved since: the id is of its values
      record.label = cell.label, record.dataset_label = cell.dataset_label;
    } else {
      CellRecord& record = results.emplace_back().cell;
      record = planned_record(plan, cell);
      record.status = status_name(cell.waits_for.empty() ? Status::interrupted : Status::unsupported);
      record.reason = cell.waits_for.empty() ? "not run yet; --resume runs it"
                                             : fmt::format("not on this machine: {}", cell.waits_for);
    }
    results.back().cell.cell = std::int64_t(results.size()) - 1;
  }
  return results;
}

std::vector<CellRecord> RunState::records(const Plan& plan) const {
  std::vector<CellRecord> records;
  for (CellResult& result : results(plan)) records.push_back(std::move(result.cell));
  return records;
}

void RunState::collect(const RunFolder& folder, const Plan& plan, RunAttributes attributes) const {
  attributes["run"] = plan.sweep.run;
  attributes["config_yaml"] = plan.sweep.text;
  write_run(folder.run_path(), attributes, plan.problems(), results(plan), folder.cells_folder());
  std::map<std::string, std::string> stamps;
  for (const PlannedCell& cell : plan.cells)
    if (const auto stamp = stamps_.find(cell.id); stamp != stamps_.end()) stamps.insert(*stamp);
  folder.write_stamps(stamps);
}

}  // namespace salebench
