#include "harness/run/merge.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <set>

#include "core/atomic_file.h"
#include "harness/run/run_state.h"
#include "harness/run/schedule.h"

namespace salebench {
namespace {

namespace fs = std::filesystem;

/// A folder that is merged, with what it has found.
struct Part {
  std::unique_ptr<RunFolder> folder;
  Plan plan;
  RunState state;
};

std::vector<Part> open_parts(const std::vector<std::string>& paths) {
  std::vector<Part> parts;
  for (const std::string& path : paths) {
    Part part;
    part.folder = std::make_unique<RunFolder>(path);
    part.plan = part.folder->plan();
    part.state = RunState(*part.folder, part.plan);
    if (!parts.empty() && parts[0].plan.sweep.text != part.plan.sweep.text)
      throw UsageError(fmt::format("{} and {} are of different configs: only parts of one sweep are brought together",
                                   paths[0], path));
    if (!parts.empty() && parts[0].plan.quick != part.plan.quick)
      throw UsageError(fmt::format("of {} and {} one is a --quick run", paths[0], path));
    parts.push_back(std::move(part));
  }
  return parts;
}

/// The part whose result of a cell counts; null if none has one.
const Part* best_part(const std::vector<Part>& parts, const std::string& id) {
  const Part* best = nullptr;
  for (const Part& part : parts) {
    const CellRecord* const record = part.state.find(id);
    if (record && (!best || (record->status == "ok" && best->state.find(id)->status != "ok"))) best = &part;
  }
  return best;
}

/// The cell's file, by a hard link where the file system allows, as it is only ever replaced; and its log, which is
/// written in place.
void take(const RunFolder& from, const RunFolder& to, const std::string& id) {
  const auto copy = [](const std::string& source, const std::string& target, bool may_link) {
    std::error_code error;
    if (!fs::exists(source, error)) return;
    fs::remove(target, error);
    if (may_link) fs::create_hard_link(source, target, error);
    if (!may_link || error) fs::copy_file(source, target, error);
    if (error) throw WriteError(fmt::format("cannot copy {} to {}: {}", source, target, error.message()));
  };
  copy(from.cell_path(id), to.cell_path(id), true);
  copy(from.log_path(id), to.log_path(id), false);
}

std::vector<std::string> absent_shards(const std::vector<Part>& parts) {
  int of = 0;
  std::set<std::string> there;
  for (const Part& part : parts) {
    if (part.plan.shard.empty()) continue;
    there.insert(part.plan.shard);
    of = std::max(of, Shard::parse(part.plan.shard).of);
  }
  std::vector<std::string> absent;
  for (int i = 1; i <= of; ++i)
    if (const std::string shard = Shard{i, of}.text(); !there.contains(shard)) absent.push_back(shard);
  return absent;
}

/// The plan of all cells that the parts have, as one machine would have made it.
Plan whole_plan(const std::vector<Part>& parts, const std::string& folder) {
  Plan plan = parts[0].plan;
  plan.cells.clear(), plan.shard.clear(), plan.whole = 0;
  plan.folder = fs::absolute(folder).lexically_normal();
  std::set<std::string> seen;
  for (const Part& part : parts)
    for (const PlannedCell& cell : part.plan.cells)
      if (seen.insert(cell.id).second) plan.cells.push_back(cell);
  std::ranges::stable_sort(plan.cells, {}, &PlannedCell::order);
  return plan;
}

/// Cells of the whole sweep that none of the parts has.
int missing_cells(const std::vector<Part>& parts, const Plan& plan) {
  int whole = 0;
  for (const Part& part : parts) {
    if (part.plan.shard.empty()) return 0;
    whole = std::max(whole, part.plan.whole);
  }
  return std::max(0, whole - int(plan.cells.size()));
}

}  // namespace

MergedShards merge_shards(const std::vector<std::string>& folders, const std::string& out, bool force) {
  const std::vector<Part> parts = open_parts(folders);
  RunFolder merged(out);
  if (merged.exists() && !force)
    throw UsageError(fmt::format("{} exists: --force writes it anew, -o names another folder", out));
  for (const std::string& folder : folders) {
    std::error_code ignored;
    if (fs::equivalent(folder, out, ignored)) throw UsageError(fmt::format("{} is both a part and the whole", out));
  }
  if (merged.exists()) merged.plan();  // throws for what is no run, and so not to be cleared
  merged.open_for_writing();
  for (const std::string& id : merged.finished_ids()) fs::remove(merged.cell_path(id));

  const Plan plan = whole_plan(parts, out);
  RunState state;
  std::set<std::string> machines;
  for (const PlannedCell& cell : plan.cells) {
    const Part* const part = best_part(parts, cell.id);
    if (!part) continue;
    take(*part->folder, merged, cell.id);
    state.add(merged, *part->state.result(cell.id));
    machines.insert(part->state.find(cell.id)->node);
  }
  const RunAttributes attributes = parts[0].folder->attributes();
  merged.write_plan(plan, attributes);
  state.collect(merged, plan, attributes);
  return {int(plan.cells.size()),
          state.unfinished(plan),
          missing_cells(parts, plan),
          absent_shards(parts),
          {machines.begin(), machines.end()}};
}

}  // namespace salebench
