#include "harness/cell/measure.h"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <random>
#include <thread>

#include "core/stats.h"

namespace salebench {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Google Benchmark reports to nobody: samples are kept by the loop itself.
class SilentReporter : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>&) override {}
};

/// Before which samples the tensors are changed for a run: one in eight, and one of the first `least`.
class ChangedRuns {
 public:
  explicit ChangedRuns(int least) : first_(pick(0, std::max(0, least - 1))) {}
  bool now() { return place_++ == first_ || pick(0, 7) == 0; }

 private:
  int pick(int low, int high) { return std::uniform_int_distribution(low, high)(random_); }

  std::mt19937 random_{std::random_device()()};  // not the config's seed, which a method may know
  int place_ = 0, first_;
};

void take_sample(const TimedWork& work, double pause, Samples& samples) {
  const auto idle = [&] { std::this_thread::sleep_for(std::chrono::duration<double>(pause)); };
  if (pause > 0) idle();
  const PhaseTimes times = work.sample();
  if (work.has_selection) samples.select.push_back(times.select);
  if (work.has_index) samples.index.push_back(times.index);
  samples.attend.push_back(times.attend);
  samples.total.push_back(times.total());
  samples.sm_clock_mhz.push_back(times.sm_clock_mhz);
  if (!work.baseline) return;
  if (pause > 0) idle();
  samples.baseline.push_back(work.baseline());
}

/// One run of Google Benchmark with a fixed number of iterations; fixed, as leaving its loop early aborts the process.
void run_chunk(const std::string& name, const TimedWork& work, int count, double pause, ChangedRuns* changed,
               Samples& samples) {
  benchmark::ClearRegisteredBenchmarks();
  benchmark::RegisterBenchmark(name.c_str(),
                               [&](benchmark::State& state) {
                                 for (auto _ : state) {
                                   if (changed && work.changed && changed->now()) work.changed();
                                   take_sample(work, pause, samples);
                                   state.SetIterationTime(samples.total.back());
                                 }
                               })
      ->UseManualTime()
      ->Iterations(count);
  SilentReporter reporter;
  benchmark::RunSpecifiedBenchmarks(&reporter);
}

double noise_of(const std::vector<double>& samples, std::uint64_t seed) {
  if (samples.size() < 2) return 1;
  const Interval interval = median_interval(samples, seed);
  return (interval.high - interval.low) / 2 / median(samples);
}

}  // namespace

Samples measure(const std::string& name, const TimedWork& work, const MeasureConfig& config, std::uint64_t seed,
                bool once) {
  Samples samples;
  if (once) {
    run_chunk(name, work, 1, config.pause, nullptr, samples);
    samples.noise = 1;
    return samples;
  }
  for (const auto start = Clock::now(); seconds_since(start) < config.warmup;) {
    Samples discarded;
    take_sample(work, config.pause, discarded);
  }
  constexpr int kChunk = 16;
  ChangedRuns changed(config.min_samples);
  const auto start = Clock::now();
  run_chunk(name, work, config.min_samples, config.pause, &changed, samples);
  while (true) {
    const double elapsed = seconds_since(start);
    samples.noise = noise_of(samples.total, seed);
    samples.converged = samples.noise <= config.max_noise;
    if (elapsed >= config.max_time || (samples.converged && elapsed >= config.min_time)) return samples;
    // Slow cells sample one at a time, so that max_time means something to them.
    const double each = elapsed / double(samples.total.size());
    run_chunk(name, work, std::clamp(int((config.max_time - elapsed) / each), 1, kChunk), config.pause, &changed,
              samples);
  }
}

}  // namespace salebench
