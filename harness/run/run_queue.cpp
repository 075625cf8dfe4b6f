#include "harness/run/run_queue.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <thread>

#include "harness/cell/cell.h"
#include "harness/run/cell_worker.h"
#include "harness/run/schedule.h"
#include "harness/support/interrupts.h"

namespace salebench {
namespace {

class RunQueue {
 public:
  RunQueue(const Plan& plan, const RunFolder& folder, bool in_process, const TruthCache& cache, Progress& progress,
           RunState& state)
      : plan_(plan), folder_(folder), in_process_(in_process), cache_(cache), progress_(progress), state_(state) {}

  /// One cell at a time on each of the GPUs; an empty name is all that this process sees.
  void run(const std::vector<const PlannedCell*>& cells, const std::vector<std::string>& gpus) {
    auto next = cells.begin();
    std::vector<std::optional<CellWorker>> lanes(gpus.size());
    while (true) {
      for (std::size_t i = 0; i < lanes.size(); ++i)
        while (!lanes[i] && next != cells.end() && !interrupted) start(**next++, gpus[i], lanes[i]);
      if (std::ranges::none_of(lanes, [](const auto& lane) { return lane.has_value(); })) return;
      std::this_thread::sleep_for(kWorkerPoll);
      for (auto& lane : lanes) {
        if (!lane || !lane->has_ended()) continue;
        finish(*lane);
        lane.reset();
      }
    }
  }

 private:
  /// Fills the lane, but for cells that need no worker.
  void start(const PlannedCell& cell, const std::string& gpu, std::optional<CellWorker>& lane) {
    progress_.starting(cell);
    state_.forget(cell.id);
    // What a run is about to measure must not be mistaken for what an earlier one left.
    std::filesystem::remove(folder_.cell_path(cell.id));
    if (!in_process_ && cell.unsupported.empty()) {
      lane.emplace(plan_, cell, folder_, gpu);
      return;
    }
    CellResult result = run_cell(plan_, cell, cache_);
    write_cell(folder_.cell_path(cell.id), result);
    result.has_stored_mask = result.mask.has_value();
    result.mask.reset();
    add(cell, std::move(result));
  }

  void finish(CellWorker& worker) {
    if (auto result = worker.result())
      add(worker.cell(), std::move(*result));
    else
      state_.read(folder_, worker.cell().id);  // it may have ended its cell just before it was ended itself
  }

  void add(const PlannedCell& cell, CellResult result) {
    progress_.finished(cell, result.cell);
    state_.add(folder_, std::move(result));
  }

  const Plan& plan_;
  const RunFolder& folder_;
  bool in_process_;
  const TruthCache& cache_;
  Progress& progress_;
  RunState& state_;
};

}  // namespace

void run_queue(const Plan& plan, const std::vector<const PlannedCell*>& cells, const RunFolder& folder, bool in_process,
               const TruthCache& cache, Progress& progress, RunState& state) {
  RunQueue queue(plan, folder, in_process, cache, progress, state);
  if (plan.gpus.size() < 2 || in_process) {
    queue.run(cells, plan.gpus.size() == 1 && !in_process ? plan.gpus : std::vector<std::string>{""});
    return;
  }
  std::vector<const PlannedCell*> alone, spread;
  for (const PlannedCell* cell : cells) (cell->backend == "cuda" ? spread : alone).push_back(cell);
  sort_longest_first(spread, plan);
  queue.run(alone, {""});
  queue.run(spread, plan.gpus);
}

}  // namespace salebench
