// Comparisons of outputs and masks on the device against plain counts. Skips without a device.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "core/half.h"
#include "kernels/cuda/check/repeat_check.h"
#include "kernels/cuda/device/device_memory.h"
#include "tests/kernels/cuda/cuda_fixture.h"
#include "tests/kernels/cuda/misbehaving_kernels.h"

namespace salebench::cuda {
namespace {

constexpr Stream kStream = nullptr;

class CudaChecks : public NeedsCudaDevice {};

class CudaRepeat : public CudaChecks, public testing::WithParamInterface<ValueType> {};

ValueDifference compare(ValueType type, const void* values, const void* expected, std::size_t count) {
  const DeviceBuffer workspace(compare_values_bytes());
  const DeviceVector<ValueDifference> difference(1);
  fill_bytes(workspace.data(), workspace.bytes(), 0xff, kStream);
  fill_bytes(difference.data(), difference.bytes(), 0xff, kStream);
  compare_values(type, values, expected, count, workspace.data(), difference.data(), kStream);
  return difference.host(kStream)[0];
}

/// The values in device memory, rounded to a type.
DeviceBuffer on_device(ValueType type, const std::vector<float>& values) {
  DeviceBuffer memory(values.size() * (type == ValueType::float32 ? 4 : 2));
  if (type == ValueType::float32)
    copy_to_device(memory.data(), values.data(), memory.bytes(), kStream);
  else
    upload_as(type == ValueType::fp16 ? Dtype::fp16 : Dtype::bf16, values, memory.data(), kStream);
  return memory;
}

float rounded(ValueType type, float value) {
  if (type == ValueType::float32) return value;
  return type == ValueType::fp16 ? half_to_float(float_to_half(value)) : bfloat16_to_float(float_to_bfloat16(value));
}

std::vector<float> random_values(std::size_t count) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

TEST_P(CudaRepeat, CountsAndSumsExactly) {
  constexpr std::size_t kCount = 3'000'005;
  const std::vector<float> expected = random_values(kCount);
  std::vector<float> values = expected;
  const std::vector<std::size_t> changed = {0, 8, 9, 4096, 1'234'567, kCount - 6, kCount - 2, kCount - 1};
  for (const std::size_t i : changed) values[i] += 1;
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < kCount; ++i) {
    const double want = rounded(GetParam(), expected[i]), d = rounded(GetParam(), values[i]) - want;
    difference += d * d, size += want * want;
  }
  const DeviceBuffer a = on_device(GetParam(), values), b = on_device(GetParam(), expected);
  const ValueDifference got = compare(GetParam(), a.data(), b.data(), kCount);
  EXPECT_EQ(got.differing, std::int64_t(changed.size()));
  EXPECT_EQ(got.not_finite, 0);
  EXPECT_NEAR(got.relative_l2(), std::sqrt(difference / size), 1e-6 * std::sqrt(difference / size));
  const ValueDifference again = compare(GetParam(), a.data(), b.data(), kCount);
  EXPECT_EQ(got.difference_squared, again.difference_squared);
  EXPECT_EQ(got.expected_squared, again.expected_squared);
  const ValueDifference same = compare(GetParam(), b.data(), b.data(), kCount);
  EXPECT_EQ(same.differing, 0);
  EXPECT_EQ(same.relative_l2(), 0);
}

TEST_P(CudaRepeat, SeesWhatIsNotFinite) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();
  std::vector<float> expected = random_values(1001), values = expected;
  values[17] = expected[17] = kNan;
  const DeviceBuffer b = on_device(GetParam(), expected);
  ValueDifference got = compare(GetParam(), on_device(GetParam(), values).data(), b.data(), values.size());
  EXPECT_EQ(got.not_finite, 1);
  EXPECT_EQ(got.differing, 0);
  EXPECT_EQ(got.difference_squared, 0);
  values[3] = kNan, values[1000] = -kInfinity;
  got = compare(GetParam(), on_device(GetParam(), values).data(), b.data(), values.size());
  EXPECT_EQ(got.not_finite, 3);
  EXPECT_EQ(got.differing, 2);
  EXPECT_FALSE(std::isfinite(got.relative_l2()));
}

TEST_P(CudaRepeat, SignsOfZeroAndShortCountsMatter) {
  const DeviceBuffer a = on_device(GetParam(), {0.0f, 2.0f, 1.0f}), b = on_device(GetParam(), {-0.0f, 2.0f, 1.0f});
  EXPECT_EQ(compare(GetParam(), a.data(), b.data(), 3).differing, 1);
  EXPECT_EQ(compare(GetParam(), a.data(), b.data(), 3).relative_l2(), 0);
  EXPECT_EQ(compare(GetParam(), a.data(), b.data(), 0).differing, 0);
}

std::string type_name(const testing::TestParamInfo<ValueType>& info) {
  return std::vector<std::string>{"fp16", "bf16", "float32"}[std::size_t(info.param)];
}
INSTANTIATE_TEST_SUITE_P(Types, CudaRepeat, testing::Values(ValueType::fp16, ValueType::bf16, ValueType::float32),
                         type_name);

TEST_F(CudaChecks, AnOutputThatChangesEachTimeIsSeen) {
  const std::vector<float> values(1000, 1.0f);
  for (const Dtype dtype : {Dtype::fp16, Dtype::bf16}) {
    const ValueType type = value_type(dtype);
    const DeviceBuffer first = on_device(type, values), second = on_device(type, values);
    add_call_count(dtype, first.data(), values.size(), kStream);
    add_call_count(dtype, second.data(), values.size(), kStream);
    EXPECT_EQ(compare(type, first.data(), second.data(), values.size()).differing, 1000);
  }
}

TEST_F(CudaChecks, CountsDifferingWords) {
  std::mt19937 random(3);
  std::vector<std::uint32_t> expected(1'000'001);
  for (std::uint32_t& word : expected) word = random();
  std::vector<std::uint32_t> bits = expected;
  for (const std::size_t i : {0, 31, 262144, 1'000'000}) bits[i] ^= 1u << (i % 32);
  const DeviceVector<std::uint32_t> a(bits, kStream), b(expected, kStream);
  const DeviceVector<std::uint64_t> differing(1);
  count_differing_words(a.data(), b.data(), a.size(), differing.data(), kStream);
  EXPECT_EQ(differing.host(kStream)[0], 4u);
  count_differing_words(b.data(), b.data(), b.size(), differing.data(), kStream);
  EXPECT_EQ(differing.host(kStream)[0], 0u);
}

}  // namespace
}  // namespace salebench::cuda
