// Times of device work by CUDA events, without the host's launch overhead and with the SM clock of each sample. The
// method is NVBench's (github.com/NVIDIA/nvbench): flush L2, hold the stream while all is enqueued, then let it run.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "kernels/cuda/device/device_error.h"
#include "kernels/cuda/device/device_problem.h"

namespace salebench::cuda {

/// One run of all phases. A phase's time holds the device's own cost of starting its kernels: on an H100 a phase
/// without work takes 1.2 us, and one kernel that ends at once 3.2 us.
struct DeviceSample {
  std::vector<double> seconds;  ///< of each phase, from event to event
  double total = 0;             ///< seconds from the first event to the last
  double sm_clock_mhz = 0;      ///< mean SM clock over the phases; NaN if they took less than kShortestClock
  bool held = true;             ///< false: the stream ran before all was enqueued, so gaps of the host may be in it
};

/// Seconds between the two clock readings below which the mean clock is not given. A reading is made as %globaltimer
/// ticks, so it is off by the few dozen nanoseconds of a poll, whatever the timer's resolution (32 ns to 1 us, by
/// chip).
constexpr double kShortestClock = 10e-6;

/// Seconds for which the stream is held at most. Enqueueing takes far less unless a phase waits for the device, loads
/// code or makes more launches than fit in the queue (about 1000); so run each phase once before the first sample.
constexpr double kLongestHold = 0.1;

/// Holds events, host-mapped flags, and for cold samples device memory of twice L2; a sample allocates none. Belongs to
/// the device that is current when it is made.
class DeviceTimer {
 public:
  /// For samples of up to `phases` phases. `cold` flushes L2 before each sample by reading twice its size, after what
  /// kernels made persist there was set free.
  DeviceTimer(std::size_t phases, bool cold);
  DeviceTimer(DeviceTimer&&) noexcept;
  DeviceTimer& operator=(DeviceTimer&&) noexcept;
  ~DeviceTimer();

  /// Runs `before` (may be empty; poisons outputs, say), flushes, then runs the phases, and waits. Each phase enqueues
  /// its work on the stream, and need not wait for it. What `before` or a phase throws is passed on after the stream
  /// has ended its work; a fault of a kernel is a DeviceError.
  DeviceSample sample(const std::function<void()>& before, std::span<const std::function<void()>> phases,
                      Stream stream);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace salebench::cuda
