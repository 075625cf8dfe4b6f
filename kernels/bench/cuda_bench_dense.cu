// The dense kernels side by side. They take turns within a round, each after a flushed L2, and the first turn moves on
// from round to round, so that all meet the same heat and power.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>
#include <vector>

#include "kernels/bench/cuda_bench.cuh"
#include "kernels/cuda/dense_kernels.h"

namespace salebench::cuda {
namespace {

constexpr int kWarmUps = 2;
constexpr int kRounds = 15;
constexpr int kLow = 3, kHigh = 11;  // these of 15 ordered samples hold the median with 96 % confidence

struct Entrant {
  const DenseKernel* kernel;
  std::unique_ptr<DensePlan> plan;
  char* workspace;
  std::vector<float> ms;
};

float timed_run(Entrant& entrant, char* flush, int value, cudaEvent_t start, cudaEvent_t stop) {
  SALEBENCH_CUDA_CHECK(cudaMemsetAsync(flush, value, kFlushBytes));
  SALEBENCH_CUDA_CHECK(cudaEventRecord(start));
  entrant.plan->run(entrant.workspace, nullptr);
  SALEBENCH_CUDA_CHECK(cudaEventRecord(stop));
  SALEBENCH_CUDA_CHECK(cudaEventSynchronize(stop));
  float ms = 0;
  SALEBENCH_CUDA_CHECK(cudaEventElapsedTime(&ms, start, stop));
  return ms;
}

std::vector<Entrant> make_entrants(const Case& c, const std::set<std::string>& names) {
  std::vector<Entrant> entrants;
  for (const DenseKernel* kernel : dense_kernels()) {
    if (!names.empty() && !names.contains(kernel->name())) continue;
    const std::string why = kernel->why_not(c.p.shape, c.p.causal, c.p.scale, c.p.dtype);
    if (!why.empty()) {
      std::printf("%7d  %-10s left out: %s\n", c.p.shape.kv_len, kernel->name().c_str(), why.c_str());
      continue;
    }
    Entrant entrant{kernel, kernel->plan(c.p, c.out), nullptr, {}};
    entrant.workspace = allocate<char>(std::max<std::size_t>(1, entrant.plan->workspace_bytes()));
    entrant.plan->prepare(entrant.workspace, nullptr);
    entrants.push_back(std::move(entrant));
  }
  return entrants;
}

}  // namespace

void bench_dense_kernels(int length, const DenseBench& how, char* flush) {
  const Case c(length, how.head_dim);
  std::vector<Entrant> entrants = make_entrants(c, how.names);
  cudaEvent_t start, stop;
  SALEBENCH_CUDA_CHECK(cudaEventCreate(&start));
  SALEBENCH_CUDA_CHECK(cudaEventCreate(&stop));
  const int count = int(entrants.size());
  for (int round = -kWarmUps; round < kRounds; ++round)
    for (int turn = 0; turn < count; ++turn) {
      Entrant& entrant = entrants[(turn + round + kWarmUps) % count];
      std::this_thread::sleep_for(std::chrono::milliseconds(how.pause_ms));
      const float ms = timed_run(entrant, flush, round & 1, start, stop);
      if (round >= 0) entrant.ms.push_back(ms);
    }
  for (Entrant& entrant : entrants) {
    std::ranges::sort(entrant.ms);
    const double ms = entrant.ms[kRounds / 2], spread = 0.5 * (entrant.ms[kHigh] - entrant.ms[kLow]);
    std::printf("%7d  %-10s D %-3d  %9.3f ms +- %4.1f %%  %6.0f TFLOP/s  workspace %.1f MB  %s\n", length,
                entrant.kernel->name().c_str(), how.head_dim, ms, 100 * spread / ms, c.dense_flops / ms * 1e-9,
                double(entrant.plan->workspace_bytes()) * 1e-6, entrant.kernel->version().c_str());
    cudaFree(entrant.workspace);
  }
  cudaEventDestroy(start);
  cudaEventDestroy(stop);
}

}  // namespace salebench::cuda
