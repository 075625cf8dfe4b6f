// Device memory, errors, and rounding on upload against core/half.h. Skips without a device.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "core/half.h"
#include "kernels/cuda/device/device_memory.h"
#include "tests/kernels/cuda/cuda_fixture.h"
#include "tests/kernels/cuda/misbehaving_kernels.h"

namespace salebench::cuda {
namespace {

constexpr Stream kStream = nullptr;

class CudaMemory : public NeedsCudaDevice {};

void expect_working_device() {
  std::vector<int> values(1000);
  std::iota(values.begin(), values.end(), 0);
  EXPECT_EQ(DeviceVector<int>(values, kStream).host(kStream), values);
}

TEST_F(CudaMemory, OutOfMemoryLeavesTheDeviceUsable) {
  try {
    DeviceBuffer(std::size_t(1) << 50);
    ADD_FAILURE() << "a petabyte was allocated";
  } catch (const OutOfDeviceMemory& error) {
    EXPECT_TRUE(std::string(error.what()).starts_with("device memory: asked for 1125899.9 GB, ")) << error.what();
    EXPECT_TRUE(std::string(error.what()).ends_with(" GB are free")) << error.what();
  }
  spin(0, kStream);  // a launch checks for errors left behind
  expect_working_device();
}

TEST_F(CudaMemory, CountsWhatIsHeld) {
  ASSERT_EQ(device_bytes_held(), 0u);
  reset_device_bytes_peak();
  DeviceBuffer kept(1000);
  EXPECT_EQ(std::uintptr_t(kept.data()) % 256, 0u);
  {
    const DeviceBuffer more(500);
    EXPECT_EQ(device_bytes_held(), 1500u);
  }
  DeviceBuffer moved = std::move(kept);
  moved = DeviceBuffer(200);
  EXPECT_EQ(device_bytes_held(), 200u);
  EXPECT_EQ(device_bytes_peak(), 1500u);
  reset_device_bytes_peak();
  EXPECT_EQ(device_bytes_peak(), 200u);
  EXPECT_EQ(DeviceBuffer().data(), nullptr);
}

TEST_F(CudaMemory, FillsBytes) {
  const DeviceVector<float> values(100);
  fill_bytes(values.data(), values.bytes(), 0xff, kStream);
  for (const float value : values.host(kStream)) EXPECT_TRUE(std::isnan(value));
}

float value_of(std::uint16_t bits, Dtype dtype) {
  return dtype == Dtype::fp16 ? half_to_float(bits) : bfloat16_to_float(bits);
}

void expect_rounded(const std::vector<float>& values, Dtype dtype) {
  const DeviceVector<std::uint16_t> device(values.size());
  upload_as(dtype, values, device.data(), kStream);
  const std::vector<std::uint16_t> got = device.host(kStream);
  int shown = 0;
  for (std::size_t i = 0; i < values.size() && shown < 5; ++i) {
    const std::uint16_t want = dtype == Dtype::fp16 ? float_to_half(values[i]) : float_to_bfloat16(values[i]);
    if (got[i] == want || (std::isnan(values[i]) && std::isnan(value_of(got[i], dtype)))) continue;
    ++shown;
    ADD_FAILURE() << values[i] << " became " << std::hex << got[i] << ", not " << want;
  }
}

/// Each value of the type, the middle between it and the next, and the float32 neighbours of both.
TEST_F(CudaMemory, RoundsAsTheCpuDoes) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const Dtype dtype : {Dtype::fp16, Dtype::bf16}) {
    std::vector<float> values;
    for (int bits = 0; bits < 0x10000; ++bits) {
      const float here = value_of(std::uint16_t(bits), dtype), next = value_of(std::uint16_t(bits + 1), dtype);
      for (const float value : {here, here / 2 + next / 2})
        values.insert(values.end(), {value, std::nextafter(value, kInfinity), std::nextafter(value, -kInfinity)});
    }
    expect_rounded(values, dtype);
  }
}

TEST_F(CudaMemory, UploadsAnyCount) {
  std::mt19937 random(1);
  std::vector<float> values(13'000'003);  // more than three stages, the last not full
  for (float& value : values) value = float(random()) * 0x1p-20f - 2048;
  expect_rounded(values, Dtype::bf16);
  for (const std::size_t count : {0, 1, 3, 4, 5, 1023})
    expect_rounded(std::vector<float>(values.begin(), values.begin() + std::ptrdiff_t(count)), Dtype::fp16);
}

TEST_F(CudaMemory, AnErrorThatPassesIsNotSticky) {
  try {
    copy_to_device(nullptr, nullptr, 16, kStream);
    ADD_FAILURE() << "copied from nowhere";
  } catch (const DeviceError& error) {
    EXPECT_FALSE(error.sticky());
    EXPECT_NE(std::string(error.what()).find("cudaMemcpyAsync"), std::string::npos) << error.what();
  }
  expect_working_device();
}

/// In a child process, which then has lost its device.
TEST_F(CudaMemory, AFaultIsSticky) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const auto fault = [] {
    std::vector<int> values(10);
    const DeviceVector<int> device(values, kStream);
    write_to_bad_pointer(kStream);
    try {
      device.download(values, kStream);
    } catch (const DeviceError& error) {
      std::fprintf(stderr, "%s, sticky %d\n", error.what(), int(error.sticky()));
      std::exit(error.sticky() ? 3 : 4);
    }
    std::exit(5);
  };
  EXPECT_EXIT(fault(), testing::ExitedWithCode(3), "illegal memory access.*, sticky 1");
}

}  // namespace
}  // namespace salebench::cuda
