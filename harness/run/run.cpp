#include "harness/run/run.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <set>
#include <thread>

#include "core/atomic_file.h"
#include "core/status.h"
#include "datasets/truth_cache.h"
#include "harness/cell/cell.h"
#include "harness/plan/backends.h"
#include "harness/run/dry_run.h"
#include "harness/run/kept_cells.h"
#include "harness/run/progress.h"
#include "harness/run/run_state.h"
#include "harness/run/worker.h"
#include "harness/support/interrupts.h"
#include "harness/support/machine_load.h"
#include "harness/support/plugins.h"
#include "harness/support/provenance.h"
#include "kernels/cpu/simd.h"
#include "results/places.h"

namespace salebench {
namespace {

/// Exit codes of a worker that the parent understands; any other means it broke.
constexpr int kCellWritten = 0;
constexpr int kCellNotWritten = kCannotWrite;

/// The cells that are still to be run.
std::vector<const PlannedCell*> cells_to_run(const Plan& plan, const RunState& state, const RunOptions& options) {
  std::vector<const PlannedCell*> todo;
  KeptCells kept;
  const ChoiceFilter only = cell_filter(plan, options.choice);
  for (const PlannedCell& cell : plan.cells) {
    if (!matches(cell, only)) continue;
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

/// A cell that has no result of its own: the parent says how it ended.
CellResult failed_cell(const Plan& plan, const PlannedCell& cell, Status status, const std::string& reason,
                       int signal) {
  CellResult result;
  result.cell = planned_record(plan, cell);
  result.cell.status = status_name(status);
  result.cell.reason = reason;
  result.cell.signal = signal;
  result.cell.finished_utc = utc_now();
  return result;
}

/// Runs one cell in a worker and returns its result, or nothing if interrupted. Throws WriteError.
std::optional<CellResult> run_in_worker(const Plan& plan, const PlannedCell& cell, const RunFolder& folder) {
  const std::string log = folder.log_path(cell.id);
  const LoadWatch watch;
  const WorkerEnd end = run_worker({"cell", folder.path(), cell.id}, log, plan.sweep.cell_timeout);
  CellResult failed;
  switch (end.how) {
    case WorkerEnd::How::interrupted:
      return std::nullopt;
    case WorkerEnd::How::timed_out: {
      const double other_cores = watch.other_cores();
      const bool busy = is_busy(other_cores, threads_of(plan.sweep));
      failed = failed_cell(plan, cell, Status::timeout,
                           fmt::format("not done after limits.cell_timeout = {} s{}", plan.sweep.cell_timeout,
                                       busy ? fmt::format(" on a busy machine: {}", load_text(other_cores)) : ""),
                           0);
      failed.cell.other_cores = other_cores, failed.cell.busy = busy;
      break;
    }
    case WorkerEnd::How::signalled: {
      const std::string tail = log_tail(log);
      failed = failed_cell(plan, cell, Status::crashed,
                           fmt::format("killed by {}{}{}", signal_text(end.code), tail.empty() ? "" : "; log: ", tail),
                           end.code);
      break;
    }
    case WorkerEnd::How::exited:
      if (end.code == kCellWritten) return read_cell(folder.cell_path(cell.id));
      if (end.code == kCellNotWritten) {
        std::string why = log_tail(log);
        if (constexpr std::string_view kPrefix = "salebench: error: "; why.starts_with(kPrefix))
          why.erase(0, kPrefix.size());
        if (why.empty()) {  // a full disk has no room for the log either: writing it from here says so
          why = fmt::format("a worker cannot write {}", folder.cell_path(cell.id));
          write_file_atomically(log, why.data(), why.size());
        }
        throw WriteError(why);
      }
      failed = failed_cell(plan, cell, Status::crashed,
                           fmt::format("worker ended with code {}; log: {}", end.code, log_tail(log)), 0);
      break;
  }
  write_cell(folder.cell_path(cell.id), failed);
  return failed;
}

std::optional<CellResult> run_one(const Plan& plan, const PlannedCell& cell, const RunFolder& folder, bool in_process,
                                  const TruthCache& cache) {
  // What a run is about to measure must not be mistaken for what an earlier one left.
  std::filesystem::remove(folder.cell_path(cell.id));
  if (!in_process && cell.unsupported.empty()) return run_in_worker(plan, cell, folder);
  CellResult result = run_cell(plan, cell, cache);
  write_cell(folder.cell_path(cell.id), result);
  result.has_stored_mask = result.mask.has_value();
  result.mask.reset();
  return result;
}

void print_failures(const std::vector<CellRecord>& records, const RunFolder& folder) {
  const auto places = place_labels(records);
  for (std::size_t i = 0; i < records.size(); ++i) {
    const CellRecord& r = records[i];
    if (r.status == "ok" || r.status == "unsupported" || r.status == "interrupted") continue;
    fmt::print(stderr, "{}: {} {} on {} {}: {}\n  log    {}\n  repeat {}\n", r.status, r.method, r.settings, places[i],
               r.problem.shape.kv_len, r.reason, folder.log_path(r.id), r.repro);
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
  for (const PlannedCell* cell : todo) {
    if (interrupted) break;
    progress.starting(*cell);
    state.forget(cell->id);
    auto result = run_one(plan, *cell, folder, options.in_process, cache);
    if (!result) {
      state.read(folder, cell->id);  // a worker may have ended its cell just before it was ended itself
      break;
    }
    progress.finished(*cell, result->cell);
    state.add(std::move(*result));
  }
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

/// Throws NoDevice if the sweep asks for a backend that this build or machine does not have.
void require_devices(const SweepConfig& sweep) {
  for (const std::string& backend : sweep.backends)
    if (const std::string why = backend_called(backend).why_none(); !why.empty())
      throw NoDevice(fmt::format("backend {}: {}; use `backend: [cpu]`, or --set backend=cpu", backend, why));
}

}  // namespace

ExitCode run_sweep(const RunOptions& options) {
  catch_interrupts();
  RunFolder folder(options.out.empty() ? "runs/" + run_name(options.config, options.overrides) : options.out);
  // Before the config names their methods.
  if ((options.resume || options.retry_failed) && folder.exists()) load_remembered_plugins(folder.plugins());
  SweepConfig sweep = read_config(options.config, options.overrides);
  if (!options.dry_run && folder.exists() && !options.resume && !options.retry_failed && !options.force)
    throw UsageError(fmt::format(
        "{} exists: --resume keeps its finished cells, --retry-failed runs the failed ones again, --force all of them; "
        "or choose another folder with -o",
        folder.path()));
  if (!options.dry_run) require_devices(sweep);
  Plan plan = make_plan(std::move(sweep), options.quick);
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
