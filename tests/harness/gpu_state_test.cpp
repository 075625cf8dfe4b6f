// Reading nvidia-smi's answer: recorded lines, and programs of that name that fail or hang.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "harness/cell/cuda/gpu_state.h"

namespace salebench {
namespace {

namespace fs = std::filesystem;

TEST(GpuState, ReadsABusyH100) {
  const auto state = parse_gpu_state("59, 700.46, 700.00, 1830, 2619, P0, 0x0000000000000004\n");
  ASSERT_TRUE(state);
  EXPECT_EQ(state->temperature_c, 59);
  EXPECT_EQ(state->power_w, 700.46);
  EXPECT_EQ(state->power_limit_w, 700);
  EXPECT_EQ(state->sm_clock_mhz, 1830);
  EXPECT_EQ(state->memory_clock_mhz, 2619);
  EXPECT_EQ(state->performance_state, "P0");
  EXPECT_EQ(state->throttle, "sw_power_cap");
}

TEST(GpuState, ReadsAnIdleH100) {
  const auto state = parse_gpu_state("32, 73.79, 700.00, 345, 2619, P0, 0x0000000000000001\n");
  ASSERT_TRUE(state);
  EXPECT_EQ(state->sm_clock_mhz, 345);
  EXPECT_EQ(state->throttle, "gpu_idle");
}

TEST(GpuState, NamesEachReason) {
  const auto throttle = [](const std::string& bits) {
    return parse_gpu_state("30, 70.00, 700.00, 345, 2619, P0, " + bits)->throttle;
  };
  EXPECT_EQ(throttle("0x0000000000000000"), "none");
  EXPECT_EQ(throttle("0x0000000000000001"), "gpu_idle");
  EXPECT_EQ(throttle("0x00000000000000E8"),
            "hw_slowdown+sw_thermal_slowdown+hw_thermal_slowdown+hw_power_brake_slowdown");
  EXPECT_EQ(throttle("0x0000000000001002"), "applications_clocks_setting+0x1000");
  EXPECT_EQ(throttle("[N/A]"), "");
}

TEST(GpuState, KeepsWhatADeviceTells) {
  const auto state = parse_gpu_state("41, [N/A], [N/A], 1980, 2619, P0, [N/A]\n");
  ASSERT_TRUE(state);
  EXPECT_TRUE(std::isnan(state->power_w));
  EXPECT_EQ(state->sm_clock_mhz, 1980);
  EXPECT_FALSE(parse_gpu_state("[N/A], [N/A], [N/A], [N/A], [N/A], [N/A], [N/A]\n"));
}

TEST(GpuState, RefusesOtherLines) {
  for (const char* line : {"", "\n", ",", "No devices were found\n", "62, 688.12, 700.00, 1485, 2619, P0\n",
                           "62, 688.12, 700.00, 1485, 2619, P0, 0x4, 7\n", "a, b, c, d, e, f, g\n", ",,,,,,"})
    EXPECT_FALSE(parse_gpu_state(line)) << line;
}

/// Puts an nvidia-smi of our own first in PATH.
class FakeSmi : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("salebench_smi_" + std::to_string(::getpid()));
    fs::create_directories(folder_);
    ::setenv("PATH", (folder_.string() + ':' + old_path_).c_str(), 1);
  }
  void TearDown() override {
    ::setenv("PATH", old_path_.c_str(), 1);
    fs::remove_all(folder_);
  }
  void install(const std::string& script) const {
    std::ofstream(folder_ / "nvidia-smi") << "#!/bin/sh\n" << script << '\n';
    fs::permissions(folder_ / "nvidia-smi", fs::perms::owner_all);
  }
  fs::path folder_;

 private:
  std::string old_path_ = std::getenv("PATH");
};

TEST_F(FakeSmi, IsAskedOnceWithTheUuidAsOneWord) {
  install("echo \"$@\" > " + (folder_ / "asked").string() + "; echo '30, 70.00, 700.00, 345, 2619, P0, 0x1'");
  const auto state = read_gpu_state("GPU-1; rm -rf $HOME");
  ASSERT_TRUE(state);
  EXPECT_EQ(state->sm_clock_mhz, 345);
  std::ifstream file(folder_ / "asked");
  std::string asked;
  std::getline(file, asked);
  EXPECT_TRUE(asked.starts_with("--id=GPU-1; rm -rf $HOME --query-gpu=temperature.gpu,")) << asked;
}

TEST_F(FakeSmi, MayFail) {
  install("echo '30, 70.00, 700.00, 345, 2619, P0, 0x1'; exit 9");
  EXPECT_FALSE(read_gpu_state("GPU-1"));
  install("kill -9 $$");
  EXPECT_FALSE(read_gpu_state("GPU-1"));
  ::setenv("PATH", (folder_ / "none").c_str(), 1);
  EXPECT_FALSE(read_gpu_state("GPU-1"));
}

TEST_F(FakeSmi, MayHang) {
  for (const char* script : {"sleep 3600", "echo '30, 70.00, 700.00, 345, 2619, P0, 0x1'; exec >&-; sleep 3600"}) {
    install(script);
    const auto start = std::chrono::steady_clock::now();
    EXPECT_FALSE(read_gpu_state("GPU-1"));
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(1800));
  }
}

}  // namespace
}  // namespace salebench
