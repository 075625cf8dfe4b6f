#include "kernels/cuda/device/device_timer.h"

#include <algorithm>
#include <atomic>

#include "core/stats.h"
#include "kernels/cuda/device/device_memory.h"
#include "kernels/cuda/device/handles.cuh"
#include "kernels/cuda/device/l2_flush.h"
#include "kernels/cuda/device/launch.cuh"

namespace salebench::cuda {
namespace {

constexpr unsigned kMaxSms = 512;

/// When an SM's clock counter stood where.
struct ClockReading {
  std::uint64_t nanoseconds = 0, cycles = 0;
};

/// What host and hold_kernel tell each other.
struct HoldFlags {
  int release = 0, expired = 0;
};

__device__ inline std::uint64_t global_nanoseconds() {
  std::uint64_t time;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(time));
  return time;
}

__global__ void hold_kernel(volatile HoldFlags* flags, std::uint64_t longest_ns) {
  const std::uint64_t start = global_nanoseconds();
  while (!flags->release) {
    if (global_nanoseconds() - start < longest_ns) continue;
    flags->expired = 1;
    return;
  }
}

/// One CTA an SM, as they spread on an idle device; readings [kMaxSms]. Reads just after the timer has ticked.
__global__ void read_clocks_kernel(ClockReading* readings) {
  unsigned sm;
  asm volatile("mov.u32 %0, %%smid;" : "=r"(sm));
  const std::uint64_t start = global_nanoseconds();
  std::uint64_t tick;
  do tick = global_nanoseconds();
  while (tick == start);
  const std::uint64_t cycles = clock64();
  if (sm < kMaxSms) readings[sm] = {tick, cycles};
}

/// Holds a stream from its construction until release(), or the end of the scope, which then waits for the stream.
class Hold {
 public:
  Hold(HoldFlags& flags, Stream stream) : flags_(flags), stream_(stream) {
    flags_ = {};
    hold_kernel<<<1, 1, 0, stream_>>>(&flags_, std::uint64_t(kLongestHold * 1e9));
    SALEBENCH_CUDA_CHECK(cudaGetLastError());
  }
  Hold(Hold&&) = delete;
  ~Hold() {
    if (released_) return;
    release();
    cudaStreamSynchronize(stream_);  // an exception is on its way already
  }
  void release() {
    std::atomic_ref(flags_.release).store(1);
    released_ = true;
  }

 private:
  HoldFlags& flags_;
  Stream stream_;
  bool released_ = false;
};

/// Megahertz between two sets of readings [kMaxSms]: the median of the SMs that are in both.
double clock_between(const PinnedArray<ClockReading>& start, const PinnedArray<ClockReading>& end) {
  std::vector<double> clocks;
  for (unsigned sm = 0; sm < kMaxSms; ++sm) {
    if (start[sm].nanoseconds == 0 || end[sm].nanoseconds == 0) continue;
    const double elapsed = double(end[sm].nanoseconds - start[sm].nanoseconds);
    if (elapsed >= kShortestClock * 1e9) clocks.push_back(double(end[sm].cycles - start[sm].cycles) / elapsed * 1e3);
  }
  return median(clocks);  // NaN for none
}

}  // namespace

struct DeviceTimer::State {
  State(std::size_t phases, bool cold)
      : events(phases + 1),
        flush(cold ? 2 * std::size_t(device_attribute(cudaDevAttrL2CacheSize)) : 0),
        sms(device_attribute(cudaDevAttrMultiProcessorCount)) {
    if (cold) fill_bytes(flush.data(), flush.bytes(), 0, nullptr);
  }

  void read_clocks(const PinnedArray<ClockReading>& readings, Stream stream) const {
    read_clocks_kernel<<<sms, 1, 0, stream>>>(readings.data());
    SALEBENCH_CUDA_CHECK(cudaGetLastError());
  }

  void flush_l2(Stream stream) const {
    if (flush.bytes() > 0) flush_l2_by_reading(flush.data(), flush.bytes(), never_written.data(), stream);
  }

  std::vector<Event> events;  ///< before each phase and after the last
  DeviceBuffer flush;
  DeviceVector<unsigned> never_written{1};
  int sms;
  PinnedArray<HoldFlags> flags{1};
  PinnedArray<ClockReading> start{kMaxSms}, end{kMaxSms};
};

DeviceTimer::DeviceTimer(std::size_t phases, bool cold) : state_(std::make_unique<State>(phases, cold)) {
  // Loads the code that a sample runs: loading it while the stream is held would wait for the hold's end.
  Hold(state_->flags[0], nullptr).release();
  state_->read_clocks(state_->start, nullptr);
  state_->flush_l2(nullptr);
  SALEBENCH_CUDA_CHECK(cudaStreamSynchronize(nullptr));
}
DeviceTimer::DeviceTimer(DeviceTimer&&) noexcept = default;
DeviceTimer& DeviceTimer::operator=(DeviceTimer&&) noexcept = default;
DeviceTimer::~DeviceTimer() = default;

DeviceSample DeviceTimer::sample(const std::function<void()>& before, std::span<const std::function<void()>> phases,
                                 Stream stream) {
  const State& s = *state_;
  if (phases.size() >= s.events.size()) throw std::invalid_argument("more phases than the timer was made for");
  DeviceSample sample;
  sample.seconds.reserve(phases.size());
  if (before) before();
  s.flush_l2(stream);
  std::fill_n(s.start.data(), kMaxSms, ClockReading());
  std::fill_n(s.end.data(), kMaxSms, ClockReading());
  SALEBENCH_CUDA_CHECK(cudaStreamSynchronize(stream));  // the hold's time starts with the hold
  {
    Hold hold(s.flags[0], stream);
    s.read_clocks(s.start, stream);
    s.events[0].record(stream);
    for (std::size_t i = 0; i < phases.size(); ++i) {
      phases[i]();
      s.events[i + 1].record(stream);
    }
    s.read_clocks(s.end, stream);
    hold.release();
  }
  SALEBENCH_CUDA_CHECK(cudaStreamSynchronize(stream));
  for (std::size_t i = 0; i < phases.size(); ++i) sample.seconds.push_back(s.events[i + 1].seconds_since(s.events[i]));
  sample.total = s.events[phases.size()].seconds_since(s.events[0]);
  sample.sm_clock_mhz = clock_between(s.start, s.end);
  sample.held = s.flags[0].expired == 0;
  return sample;
}

}  // namespace salebench::cuda
