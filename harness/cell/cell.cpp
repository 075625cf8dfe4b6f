#include "harness/cell/cell.h"

#include <fmt/format.h>
#include <omp.h>
#include <sys/resource.h>

#include <new>

#include "harness/cell/cell_bench.h"
#include "harness/plan/calibrated_knob.h"
#include "harness/support/machine_load.h"
#include "harness/support/plugins.h"
#include "harness/support/provenance.h"
#include "kernels/cpu/simd.h"
#include "kernels/cuda/device/device_error.h"

namespace salebench {
namespace {

void fail(CellResult& result, Status status, const std::string& reason) {
  result.cell.status = status_name(status);
  result.cell.reason = reason;
}

/// A word as a shell reads it back.
std::string shell_word(const std::string& text) {
  if (text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-=+,:@%") ==
      std::string::npos)
    return text;
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

double peak_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return double(usage.ru_maxrss) * 1024;
}

}  // namespace

CellRecord planned_record(const Plan& plan, const PlannedCell& cell) {
  CellRecord c;
  static_cast<CellSettings&>(c) = cell;
  c.problem = without_texts(*cell.problem), c.problem.shape = cell.shape();
  c.git_sha = git_revision(), c.host = cpu_model(), c.node = node_name(), c.simd = cpu::simd_name(), c.note = plan.note;
  c.plugin = plugin_of(cell.method);
  // The config that the run keeps holds the overrides, and paths that lead to the data from anywhere.
  c.repro =
      fmt::format("salebench run {} --only {} --in-process{} --force -o {}", shell_word(plan.folder + "/config.yaml"),
                  cell.id, plan.quick ? " --quick" : "", shell_word(plan.folder + "-repeat"));
  for (const std::string& plugin : plan.plugins) c.repro += " --plugin " + shell_word(plugin);
  return c;
}

CellResult run_cell(const Plan& plan, const PlannedCell& cell, const TruthCache& cache) {
  const LoadWatch watch;
  omp_set_num_threads(cell.threads);
  CellResult result;
  result.cell = planned_record(plan, cell);
  result.cell.load = load_average();
  result.cell.status = status_name(Status::ok);
  try {
    if (!cell.unsupported.empty()) throw Unsupported(cell.unsupported);
    measure_cell(plan, cell, cache, result);
    result.cell.reason = joined(result.cell.reason, note_target(*cell.make(), result));
  } catch (const Unsupported& error) {
    fail(result, Status::unsupported, error.what());
  } catch (const Incorrect& error) {
    fail(result, Status::incorrect, error.what());
  } catch (const std::bad_alloc&) {
    fail(result, Status::oom, "out of host memory");
  } catch (const cuda::OutOfDeviceMemory& error) {
    fail(result, Status::oom, error.what());
  } catch (const std::exception& error) {
    fail(result, Status::error, error.what());
  } catch (...) {
    fail(result, Status::error, "threw something that is not a std::exception");
  }
  result.cell.reason = joined(result.cell.reason, cell.doubt);
  result.cell.bytes_peak = peak_bytes();
  result.cell.wall_s = watch.seconds();
  result.cell.other_cores = watch.other_cores();
  result.cell.busy = is_busy(result.cell.other_cores, omp_get_max_threads());
  result.cell.finished_utc = utc_now();
  return result;
}

}  // namespace salebench
