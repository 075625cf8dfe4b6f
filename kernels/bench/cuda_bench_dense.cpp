// The dense kernels side by side. They take turns within a round, each after a flushed L2, and the first turn moves on
// from round to round, so that all meet the same heat and power.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>

#include "kernels/bench/cuda_bench.h"
#include "kernels/cuda/dense/dense_kernels.h"

namespace salebench::cuda {
namespace {

constexpr int kWarmUps = 2;
constexpr int kRounds = 15;
constexpr int kLow = 3, kHigh = 11;  // these of 15 ordered samples hold the median with 96 % confidence

struct Entrant {
  Entrant(const DenseKernel& kernel, const Case& c)
      : kernel(kernel), plan(kernel.plan(c.p, c.out)), workspace(plan->workspace_bytes()) {
    plan->prepare(workspace.data(), nullptr);
  }

  const DenseKernel& kernel;
  std::unique_ptr<DensePlan> plan;
  DeviceBuffer workspace;
  std::vector<double> seconds;
};

std::vector<std::unique_ptr<Entrant>> make_entrants(const Case& c, const std::set<std::string>& names) {
  std::vector<std::unique_ptr<Entrant>> entrants;
  for (const DenseKernel* kernel : dense_kernels()) {
    if (!names.empty() && !names.contains(kernel->name())) continue;
    const std::string why = kernel->why_not(c.p.shape, c.p.causal, c.p.scale, c.p.dtype);
    if (why.empty())
      entrants.push_back(std::make_unique<Entrant>(*kernel, c));
    else
      std::printf("%7d  %-10s left out: %s\n", c.p.shape.kv_len, kernel->name().c_str(), why.c_str());
  }
  return entrants;
}

}  // namespace

void bench_dense_kernels(int length, const DenseBench& how) {
  const Case c(length, how.head_dim);
  const auto entrants = make_entrants(c, how.names);
  DeviceTimer timer(1, true);
  const int count = int(entrants.size());
  for (int round = -kWarmUps; round < kRounds; ++round)
    for (int turn = 0; turn < count; ++turn) {
      Entrant& entrant = *entrants[std::size_t((turn + round + kWarmUps) % count)];
      std::this_thread::sleep_for(std::chrono::milliseconds(how.pause_ms));
      const std::function<void()> run = [&] { entrant.plan->run(entrant.workspace.data(), nullptr); };
      const double seconds = timer.sample({}, {&run, 1}, nullptr).total;
      if (round >= 0) entrant.seconds.push_back(seconds);
    }
  for (const auto& entrant : entrants) {
    std::vector<double>& s = entrant->seconds;
    std::ranges::sort(s);
    const double median = s[kRounds / 2], spread = 0.5 * (s[kHigh] - s[kLow]);
    std::printf("%7d  %-10s D %-3d  %9.3f ms +- %4.1f %%  %6.0f TFLOP/s  workspace %.1f MB  %s\n", length,
                entrant->kernel.name().c_str(), how.head_dim, 1e3 * median, 100 * spread / median,
                1e-12 * c.dense_flops / median, double(entrant->workspace.bytes()) * 1e-6,
                entrant->kernel.version().c_str());
  }
}

}  // namespace salebench::cuda
