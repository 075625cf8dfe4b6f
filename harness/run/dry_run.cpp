#include "harness/run/dry_run.h"

#include <fmt/format.h>
#include <omp.h>

#include <chrono>

#include "harness/plan/backends.h"
#include "harness/run/schedule.h"
#include "harness/support/status_line.h"
#include "kernels/cpu/attention.h"

namespace salebench {
namespace {

/// FLOP/s of the dense kernel on a small problem, about 10 ms of work.
double probe_flops() {
  ProblemTensors p;
  p.shape = {4, 1, 1024, 1024, 64};
  p.q.assign(std::size_t(4) * 1024 * 64, 0.1f);
  p.k.assign(std::size_t(1024) * 64, 0.1f);
  p.v = p.k;
  p.scale = 0.125f;
  AttentionResult out(p.shape);
  cpu::dense_attention(p.view(), out.view());
  const auto start = std::chrono::steady_clock::now();
  cpu::dense_attention(p.view(), out.view());
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return 4 * 4.0 * 64 * 1024 * 1025 / 2 / seconds;
}

}  // namespace

void print_dry_run(const Plan& plan) {
  omp_set_num_threads(threads_of(plan.sweep));
  const double flops = probe_flops();
  double seconds = 0;
  int skipped = 0;
  for (const PlannedCell& cell : plan.cells) {
    if (const std::string& why = cell.waits_for.empty() ? cell.unsupported : cell.waits_for; !why.empty()) {
      ++skipped;
      fmt::print("skip  {}  {}: {}\n", cell.id, cell.title(), why);
      continue;
    }
    seconds += estimated_seconds(cell, plan.sweep.measure, plan.quick, flops);
    fmt::print("run   {}  {}\n", cell.id, cell.title());
  }
  fmt::print(
      "{} cells to run, {} skipped; about {}, at {:.0f} GFLOP/s of the dense kernel in a probe on the CPU and "
      "{:.0f} assumed of a GPU\n",
      plan.cells.size() - skipped, skipped, duration_text(seconds), flops / 1e9,
      backend_called("cuda").planned_flops(flops) / 1e9);
}

}  // namespace salebench
