#include "harness/run/run.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <set>
#include <thread>

#include "datasets/truth_cache.h"
#include "harness/cell/cell.h"
#include "harness/plan/backends.h"
#include "harness/run/dry_run.h"
#include "harness/run/kept_cells.h"
#include "harness/run/progress.h"
#include "harness/run/run_queue.h"
#include "harness/run/run_state.h"
#include "harness/run/schedule.h"
#include "harness/support/interrupts.h"
#include "harness/support/machine_load.h"
#include "harness/support/plugins.h"
#include "harness/support/provenance.h"
#include "kernels/cpu/simd.h"
#include "results/places.h"

namespace salebench {
namespace {

/// The cells that are still to be run.
std::vector<const PlannedCell*> cells_to_run(const Plan& plan, const RunState& state, const RunOptions& options) {
  std::vector<const PlannedCell*> todo;
  KeptCells kept;
  const ChoiceFilter only = cell_filter(plan, options.choice);
  for (const PlannedCell& cell : plan.cells) {
    if (!matches(cell, only) || !cell.waits_for.empty()) continue;
    const CellRecord* const found = options.force ? nullptr : state.find(cell.id);
    if (!found || (options.retry_failed && found->status != "ok" && found->status != "unsupported")) {
      todo.push_back(&cell);
      continue;
    }
    kept.add(*found);
  }
  kept.warn();
  return todo;
}

/// Names the finished cells in the folder that the plan does not hold: run.h5 will show them no more.
void warn_of_dropped(const Plan& plan, const RunFolder& folder) {
  constexpr std::size_t kNamed = 20;
  std::vector<std::string> dropped = folder.finished_ids();
  std::erase_if(dropped, [&](const std::string& id) {
    return std::ranges::find(plan.cells, id, &PlannedCell::id) != plan.cells.end();
  });
  if (dropped.empty()) return;
  const std::size_t named = std::min(kNamed, dropped.size());
  spdlog::warn("{} finished cells are not in this config, so run.h5 leaves them out (their files stay in {}): {}{}",
               dropped.size(), folder.cells_folder(),
               fmt::join(dropped.begin(), dropped.begin() + std::ptrdiff_t(named), ", "),
               named < dropped.size() ? ", ..." : "");
}

/// What run.h5 says of the run; a run that goes on keeps its date, and what was noted before.
RunAttributes attributes_of(const RunFolder& folder, const RunOptions& options) {
  RunAttributes now = {{"created_utc", utc_now()},
                       {"argv", options.command_line},
                       {"note", options.note},
                       {"provenance", provenance_json()}};
  if (!folder.exists() || options.force) return now;
  try {
    const RunAttributes before = folder.attributes();
    if (const auto created = before.find("created_utc"); created != before.end()) now["created_utc"] = created->second;
    const auto note = before.find("note");
    if (note == before.end() || note->second.empty() || note->second == options.note) return now;
    now["note"] = options.note.empty() ? note->second : fmt::format("{}; {}", note->second, options.note);
  } catch (const UsageError&) {
    // Damaged from outside: nothing to keep.
  }
  return now;
}

/// Leaves the cells that --only and --skip leave, and those that have results already. False if they leave none.
bool keep_chosen(Plan& plan, const RunState& state, const Choice& choice) {
  const ChoiceFilter only = cell_filter(plan, choice);
  for (const std::string& complaint : only.complaints()) spdlog::warn("{}", complaint);
  if (std::ranges::none_of(plan.cells, [&](const PlannedCell& cell) { return matches(cell, only); })) return false;
  std::erase_if(plan.cells, [&](const PlannedCell& cell) { return !matches(cell, only) && !state.has(cell.id); });
  return true;
}

/// Computes the truths that the cells need, so that no cell's timeout pays for them.
void prepare_truths(const Plan& plan, const std::vector<const PlannedCell*>& todo, const TruthCache& cache,
                    Progress& progress) {
  std::set<std::string> ready;
  for (const PlannedCell* cell : todo) {
    if (backend_called(cell->backend).makes_truth(plan.sweep.truth_rows)) continue;
    if (!cell->unsupported.empty() || !ready.insert(cell->truth_fingerprint).second) continue;
    const TruthKey key = {cell->truth_fingerprint, plan.sweep.truth_rows, plan.sweep.seed};
    const Shape shape = Dataset::shape_of(*cell->problem, {cell->length, 1});
    if (cache.load(key, shape)) continue;
    const ProblemTensors tensors = apply_view(Dataset(cell->dataset).load(cell->problem->id), {cell->length, 1});
    try {
      cache.get(key, tensors.view(), [&](double share) {
        progress.note(fmt::format("exact attention of {} {}: {:.0f}%", cell->problem->id, shape.kv_len, 100 * share));
        return !interrupted;
      });
    } catch (const Stopped&) {
      return;
    }
  }
}

void print_failures(const std::vector<CellRecord>& records, const RunFolder& folder) {
  const auto places = place_labels(records);
  for (std::size_t i = 0; i < records.size(); ++i) {
    const CellRecord& r = records[i];
    if (r.status == "ok" || was_left_out(r)) continue;
    fmt::print(stderr, "{}: {} {} on {} {}: {}\n  log    {}\n  repeat {}\n", r.status, display_name(r), r.settings,
               places[i], r.problem.shape.kv_len, r.reason, folder.log_path(r.id), r.repro);
  }
}

/// Of how many cells the times are in doubt, and why.
void print_doubts(const std::vector<CellRecord>& records) {
  const auto timed = std::ranges::count_if(records, has_usable_times);
  const auto doubt = [&](const auto& is, const char* what) {
    const auto count =
        std::ranges::count_if(records, [&](const CellRecord& r) { return has_usable_times(r) && is(r); });
    if (count > 0) fmt::print(stderr, "{} of {} timed cells {}; report --strict leaves them out\n", count, timed, what);
  };
  doubt([](const CellRecord& r) { return r.converged == 0; }, "did not converge to measure.max_noise");
  doubt([](const CellRecord& r) { return r.busy != 0; }, "were measured while other processes took the cores");
}

ExitCode exit_code_of(const std::vector<CellRecord>& records) {
  const auto count = [&](const char* status) { return std::ranges::count(records, status, &CellRecord::status); };
  const auto ok = count("ok");
  if (ok + count("unsupported") < std::ssize(records)) return kSomeCellsFailed;
  return ok == 0 ? kNothingMeasured : kAllDone;
}

/// Says so before anything is measured on a busy machine.
void warn_of_load(const SweepConfig& sweep, const std::vector<const PlannedCell*>& todo) {
  constexpr auto kLook = std::chrono::milliseconds(100);
  if (todo.empty()) return;
  const LoadWatch watch;
  std::this_thread::sleep_for(kLook);
  if (const double others = watch.other_cores(); is_busy(others, threads_of(sweep)))
    spdlog::warn("{}: times will not be usable", load_text(others));
}

ExitCode run_cells(const Plan& plan, const RunFolder& folder, const RunAttributes& attributes, RunState state,
                   const RunOptions& options) {
  const TruthCache cache(TruthCache::default_folder());
  const auto todo = cells_to_run(plan, state, options);
  warn_of_load(plan.sweep, todo);
  Progress progress(int(todo.size()), options.quiet);
  prepare_truths(plan, todo, cache, progress);
  run_queue(plan, todo, folder, options.in_process, cache, progress, state);
  progress.end();
  state.collect(folder, plan, attributes);
  const auto records = state.records(plan);
  print_failures(records, folder);
  if (interrupted) {
    fmt::print(stderr, "interrupted; what is finished is kept, --resume goes on\n");
    return kInterrupted;
  }
  print_doubts(records);
  fmt::print(stderr, "{}: {} cells, see `salebench report {}`\n", folder.run_path(), records.size(), folder.path());
  return exit_code_of(records);
}

/// Takes the GPUs that the config names, among which the CPU's threads are divided. Throws NoDevice.
void choose_gpus(Plan& plan) {
  plan.gpus = gpus_called(plan.sweep.all_devices, plan.sweep.devices);
  const int threads = std::max(1, threads_of(plan.sweep) / std::max(1, int(plan.gpus.size())));
  for (PlannedCell& cell : plan.cells)
    if (cell.backend == "cuda") cell.threads = threads;
}

/// Says of each cell whose backend this build or machine does not have why it can't run here. Throws NoDevice if that
/// leaves none, but for a dry run, which then plans for a machine that has what is missing.
void mark_missing_devices(Plan& plan, bool dry_run) {
  std::map<std::string, std::string> missing;
  for (const std::string& backend : plan.sweep.backends)
    if (const std::string why = backend_called(backend).why_none(); !why.empty()) missing[backend] = why;
  if (missing.empty()) return;
  const auto& [name, why] = *missing.begin();
  if (missing.size() == plan.sweep.backends.size()) {
    if (!dry_run) throw NoDevice(fmt::format("backend {}: {}; use `backend: [cpu]`, or --set backend=cpu", name, why));
    spdlog::warn("backend {}: {}; this is the plan of a machine that has it", name, why);
    return;
  }
  spdlog::warn("backend {}: {}; its cells are left for another machine, where --resume runs them", name, why);
  for (PlannedCell& cell : plan.cells)
    if (const auto found = missing.find(cell.backend); found != missing.end()) cell.waits_for = found->second;
}

}  // namespace

ExitCode run_sweep(const RunOptions& options) {
  catch_interrupts();
  const std::string part = options.shard.empty() ? "" : "." + Shard::parse(options.shard).folder();
  RunFolder folder(options.out.empty() ? "runs/" + run_name(options.config, options.overrides) + part : options.out);
  // Before the config names their methods.
  if ((options.resume || options.retry_failed) && folder.exists()) load_remembered_plugins(folder.plugins());
  SweepConfig sweep = read_config(options.config, options.overrides);
  if (!options.dry_run && folder.exists() && !options.resume && !options.retry_failed && !options.force)
    throw UsageError(fmt::format(
        "{} exists: --resume keeps its finished cells, --retry-failed runs the failed ones again, --force all of them; "
        "or choose another folder with -o",
        folder.path()));
  Plan plan = make_plan(std::move(sweep), options.quick);
  if (!options.shard.empty()) keep_shard(plan, Shard::parse(options.shard));
  choose_gpus(plan);
  mark_missing_devices(plan, options.dry_run);
  RunState state = options.dry_run ? RunState() : RunState(folder, plan);
  if (!keep_chosen(plan, state, options.choice)) {
    fmt::print(stderr, "no cell is left to run\n");
    return kNothingMeasured;
  }
  if (options.dry_run) {
    print_dry_run(plan);
    return kAllDone;
  }
  plan.note = options.note;
  plan.plugins = plugin_paths();
  plan.folder = std::filesystem::absolute(folder.path()).lexically_normal();
  const RunAttributes attributes = attributes_of(folder, options);
  folder.open_for_writing();
  if (!options.force) warn_of_dropped(plan, folder);
  folder.write_plan(plan, attributes);
  return run_cells(plan, folder, attributes, std::move(state), options);
}

ExitCode run_worker_cell(const std::string& path, const std::string& id) {
  const RunFolder folder(path);
  const Plan plan = folder.plan();
  for (const std::string& plugin : plan.plugins) load_plugin(plugin);
  const CellResult result = run_cell(plan, plan.cell(id), TruthCache(TruthCache::default_folder()));
  write_cell(folder.cell_path(id), result);
  return kAllDone;
}

}  // namespace salebench
