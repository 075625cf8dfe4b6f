// The device timer against kernels that run for a known time of the device's own clock. Skips without a device.
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <numeric>
#include <thread>

#include "core/stats.h"
#include "kernels/cuda/check/repeat_check.h"
#include "kernels/cuda/device/device_memory.h"
#include "kernels/cuda/device/device_timer.h"
#include "tests/kernels/cuda/cuda_fixture.h"
#include "tests/kernels/cuda/misbehaving_kernels.h"

namespace salebench::cuda {
namespace {

constexpr Stream kStream = nullptr;
using Phases = std::vector<std::function<void()>>;

class CudaTimer : public NeedsCudaDevice {
 protected:
  void SetUp() override {
    NeedsCudaDevice::SetUp();
    if (IsSkipped()) return;
    spin(0, kStream);  // loads it
  }
};

std::function<void()> spinning(double seconds) {
  return [seconds] { spin(seconds, kStream); };
}

/// Of a kernel's time less that of one that ends at once: what the launch costs is in both.
constexpr double kTolerance = 1e-6;

/// The median of several samples of one phase.
double median_seconds(DeviceTimer& timer, const std::function<void()>& before, const std::function<void()>& phase) {
  std::vector<double> seconds;
  for (int i = 0; i < 9; ++i) seconds.push_back(timer.sample(before, Phases{phase}, kStream).seconds[0]);
  return median(seconds);
}

TEST_F(CudaTimer, MeasuresAKnownTime) {
  for (const bool cold : {false, true}) {
    DeviceTimer timer(1, cold);
    const double launch = median_seconds(timer, {}, spinning(0));
    for (const double seconds : {20e-6, 100e-6, 1e-3, 20e-3})
      EXPECT_NEAR(median_seconds(timer, {}, spinning(seconds)) - launch, seconds, kTolerance);
  }
}

TEST_F(CudaTimer, PhasesAreApartAndAddUp) {
  DeviceTimer timer(4, true);
  const std::vector<double> seconds = {0.4e-3, 0.1e-3, 0.8e-3};
  Phases phases;
  for (const double s : seconds) phases.push_back(spinning(s));
  const DeviceSample sample = timer.sample({}, phases, kStream);
  ASSERT_EQ(sample.seconds.size(), 3u);
  const double launch = median_seconds(timer, {}, spinning(0));
  for (int i = 0; i < 3; ++i) EXPECT_NEAR(sample.seconds[i] - launch, seconds[i], 3 * kTolerance) << "phase " << i;
  EXPECT_NEAR(std::accumulate(sample.seconds.begin(), sample.seconds.end(), 0.0), sample.total, 2e-6);
  EXPECT_TRUE(sample.held);
  EXPECT_THROW(timer.sample({}, Phases(5, spinning(0)), kStream), std::invalid_argument);
}

TEST_F(CudaTimer, TheHostsTimeIsNotInASample) {
  DeviceTimer timer(1, false);
  const auto slow_host = [] {
    spin(100e-6, kStream);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    spin(100e-6, kStream);
  };
  const DeviceSample sample = timer.sample(slow_host, Phases{slow_host}, kStream);
  EXPECT_TRUE(sample.held);
  EXPECT_NEAR(sample.seconds[0], 200e-6, 20e-6);
}

TEST_F(CudaTimer, SaysThatItCouldNotHold) {
  DeviceTimer timer(1, false);
  const auto slower_than_hold = [] {
    std::this_thread::sleep_for(std::chrono::duration<double>(1.2 * kLongestHold));
    spin(1e-3, kStream);
  };
  EXPECT_FALSE(timer.sample({}, Phases{slower_than_hold}, kStream).held);
  const auto waits = [] { copy_to_host(nullptr, nullptr, 0, kStream); };
  EXPECT_FALSE(timer.sample({}, Phases{waits}, kStream).held);
  EXPECT_TRUE(timer.sample({}, Phases{spinning(1e-3)}, kStream).held);
}

TEST_F(CudaTimer, PassesOnWhatAPhaseThrows) {
  DeviceTimer timer(2, false);
  const auto throws = [] { throw std::domain_error("the method gave up"); };
  EXPECT_THROW(timer.sample({}, Phases{spinning(1e-3), throws}, kStream), std::domain_error);
  EXPECT_NEAR(timer.sample({}, Phases{spinning(1e-3)}, kStream).seconds[0], 1e-3, 20e-6);
}

TEST_F(CudaTimer, ReadsTheSmClock) {
  DeviceTimer timer(1, false);
  const double clock = timer.sample({}, Phases{spinning(2e-3)}, kStream).sm_clock_mhz;
  EXPECT_GT(clock, 200);
  EXPECT_LT(clock, 3000);
}

TEST_F(CudaTimer, ColdSamplesReadFromMemory) {
  constexpr std::size_t kCount = 10 << 20 >> 2;
  const DeviceVector<float> a(kCount), b(kCount);
  const DeviceBuffer workspace(compare_values_bytes());
  const DeviceVector<ValueDifference> difference(1);
  const auto read = [&] {
    compare_values(ValueType::float32, a.data(), b.data(), kCount, workspace.data(), difference.data(), kStream);
  };
  fill_bytes(a.data(), a.bytes(), 0, kStream);
  fill_bytes(b.data(), b.bytes(), 0, kStream);
  DeviceTimer hot(1, false), cold(1, true);
  const double hot_seconds = median_seconds(hot, read, read), cold_seconds = median_seconds(cold, read, read);
  EXPECT_GT(cold_seconds, 1.15 * hot_seconds) << cold_seconds << " s cold, " << hot_seconds << " s hot";
}

TEST_F(CudaTimer, ColdSamplesReadWhatAKernelPinnedFromMemory) {
  constexpr std::size_t kCount = 8 << 20 >> 2;
  const DeviceVector<float> values(kCount), sum(1);
  fill_bytes(values.data(), values.bytes(), 0, kStream);
  let_lines_persist(values.bytes());
  const auto pinned = [&] { read_and_pin(values.data(), kCount, sum.data(), kStream); };
  DeviceTimer hot(1, false), cold(1, true);
  const double hot_seconds = median_seconds(hot, pinned, pinned), cold_seconds = median_seconds(cold, pinned, pinned);
  let_lines_persist(0);
  EXPECT_GT(cold_seconds, 1.15 * hot_seconds) << cold_seconds << " s cold, " << hot_seconds << " s hot";
}

}  // namespace
}  // namespace salebench::cuda
