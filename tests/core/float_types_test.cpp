// Floats of captures in every type and byte order: read as what they are, exactly, or refused by name.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "core/hdf5.h"
#include "datasets/dataset.h"
#include "datasets/files/tensor_values.h"

namespace salebench {
namespace {

namespace fs = std::filesystem;

/// A float type by its sizes; IEEE's, but for the bias, where nothing else is said.
struct Layout {
  const char* name;
  std::size_t bytes, exponent, mantissa;
  std::size_t bias = (std::size_t(1) << (exponent - 1)) - 1;
  H5T_norm_t norm = H5T_NORM_IMPLIED;
};

constexpr Layout kHalf = {"float16", 2, 5, 10}, kBrain = {"bfloat16", 2, 8, 7}, kSingle = {"float32", 4, 8, 23},
                 kDouble = {"float64", 8, 11, 52};

h5::Handle type_of(const Layout& layout, bool big_endian) {
  h5::Handle type(H5Tcopy(layout.bytes == 8 ? H5T_IEEE_F64LE : H5T_IEEE_F32LE), H5Tclose);
  H5Tset_fields(type.get(), layout.exponent + layout.mantissa, layout.mantissa, layout.exponent, 0, layout.mantissa);
  H5Tset_precision(type.get(), layout.exponent + layout.mantissa + 1);
  H5Tset_size(type.get(), layout.bytes);
  H5Tset_ebias(type.get(), layout.bias);
  H5Tset_norm(type.get(), layout.norm);
  H5Tset_order(type.get(), big_endian ? H5T_ORDER_BE : H5T_ORDER_LE);
  return type;
}

/// What bits mean, by the definition of such floats.
double meaning(const Layout& layout, std::uint64_t bits) {
  const std::uint64_t mantissa = bits & ((std::uint64_t(1) << layout.mantissa) - 1);
  const std::uint64_t most = (std::uint64_t(1) << layout.exponent) - 1, exponent = bits >> layout.mantissa & most;
  const double sign = bits >> (layout.mantissa + layout.exponent) ? -1 : 1;
  if (exponent == most)
    return mantissa ? std::copysign(std::nan(""), sign) : sign * std::numeric_limits<double>::infinity();
  const double fraction = std::ldexp(double(mantissa), -int(layout.mantissa)) + (exponent ? 1 : 0);
  return sign * std::ldexp(fraction, int(exponent ? exponent : 1) - int(layout.bias));
}

/// Bits as the bytes of a file.
std::vector<std::byte> bytes_of(const std::vector<std::uint64_t>& all, std::size_t size, bool big_endian) {
  std::vector<std::byte> bytes;
  for (const std::uint64_t bits : all)
    for (std::size_t i = 0; i < size; ++i) bytes.push_back(std::byte(bits >> 8 * (big_endian ? size - 1 - i : i)));
  return bytes;
}

void write_raw(const h5::Group& group, const std::string& name, hid_t type, const std::vector<std::byte>& bytes,
               const h5::Extents& sizes) {
  const h5::Handle space(H5Screate_simple(int(sizes.size()), sizes.data(), nullptr), H5Sclose);
  const h5::Handle dataset(
      H5Dcreate2(group.id(), name.c_str(), type, space.get(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Dclose);
  ASSERT_GE(H5Dwrite(dataset.get(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.data()), 0);
}

template <class T>
void expect_meaning(const std::vector<T>& values, const Layout& layout, const std::vector<std::uint64_t>& bits) {
  ASSERT_EQ(values.size(), bits.size());
  for (std::size_t i = 0; i < bits.size(); ++i) {
    const double expected = meaning(layout, bits[i]);
    if (std::isnan(expected))
      EXPECT_TRUE(std::isnan(values[i])) << layout.name << " " << bits[i];
    else
      ASSERT_EQ(double(values[i]), expected) << layout.name << " " << bits[i];
    EXPECT_EQ(std::signbit(values[i]), std::signbit(expected)) << layout.name << " " << bits[i];
  }
}

/// All of 16 bits; of longer types every exponent, with mantissas at the ends and between.
std::vector<std::uint64_t> all_bits(const Layout& layout) {
  std::vector<std::uint64_t> all;
  if (layout.bytes == 2)
    for (std::uint64_t bits = 0; bits < 65536; ++bits) all.push_back(bits);
  const std::uint64_t last = (std::uint64_t(1) << layout.mantissa) - 1;
  for (std::uint64_t head = 0; layout.bytes > 2 && head < std::uint64_t(2) << layout.exponent; ++head)
    for (const std::uint64_t mantissa : {std::uint64_t(0), std::uint64_t(1), last / 3, last / 2 + 1, last})
      all.push_back(head << layout.mantissa | mantissa);
  return all;
}

TEST(FloatTypes, EveryTypeIsReadExactlyInEitherByteOrder) {
  for (const Layout& layout : {kHalf, kBrain, kSingle, kDouble})
    for (const bool big_endian : {false, true}) {
      SCOPED_TRACE(fmt::format("{}{}", layout.name, big_endian ? " big-endian" : ""));
      const std::vector<std::uint64_t> bits = all_bits(layout);
      const h5::File file = h5::File::create();
      const h5::Group& root = file.root();
      write_raw(root, "x", type_of(layout, big_endian).get(), bytes_of(bits, layout.bytes, big_endian), {bits.size()});
      EXPECT_EQ(root.type_of("x"), layout.name);
      expect_meaning(root.read_double("x"), layout, bits);
      if (layout.bytes < 8)
        expect_meaning(root.read_float("x"), layout, bits);
      else
        EXPECT_THROW(root.read_float("x"), h5::Error);
    }
}

TEST(FloatTypes, BfloatInOtherTypesNeedsItsAttribute) {
  const std::vector<std::uint64_t> bits = all_bits(kBrain);
  const h5::File file = h5::File::create();
  const h5::Group& root = file.root();
  const h5::Handle opaque(H5Tcreate(H5T_OPAQUE, 2), H5Tclose), tagged(H5Tcopy(opaque.get()), H5Tclose);
  H5Tset_tag(opaque.get(), "");
  H5Tset_tag(tagged.get(), "NUMPY:bfloat16");
  write_raw(root, "little", H5T_STD_U16LE, bytes_of(bits, 2, false), {bits.size()});
  write_raw(root, "big", H5T_STD_U16BE, bytes_of(bits, 2, true), {bits.size()});
  write_raw(root, "opaque", opaque.get(), bytes_of(bits, 2, false), {bits.size()});
  write_raw(root, "tagged", tagged.get(), bytes_of(bits, 2, false), {bits.size()});
  for (const std::string name : {"little", "big", "opaque", "tagged"}) {
    if (name != "tagged") {
      EXPECT_THROW(tensor_dtype(root, name), DataError) << name;
      root.set_dataset_attribute(name, "dtype", "bfloat16");
    }
    EXPECT_EQ(tensor_dtype(root, name), "bfloat16");
    expect_meaning(tensor_values(root, name), kBrain, bits);
  }
}

std::string refusal(const h5::Group& group, const std::string& name) {
  try {
    tensor_values(group, name);
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

TEST(FloatTypes, OthersAreRefusedByName) {
  const h5::File file = h5::File::create();
  const h5::Group& root = file.root();
  const std::vector<std::pair<Layout, std::string>> others = {
      {{"", 2, 4, 11}, "a float of 2 bytes with 4 bits of exponent (bias 7) and 11 of mantissa"},
      {{"", 2, 5, 10, 16}, "(bias 16)"},
      {{"", 2, 5, 10, 15, H5T_NORM_NONE}, "a float of 2 bytes"},
      {{"", 2, 8, 6}, "8 bits of exponent (bias 127) and 6"},
      {{"", 4, 5, 10}, "a float of 4 bytes"},
      {{"", 1, 4, 3}, "a float of 1 bytes with 4 bits of exponent"},
      {kDouble, "float64"},
  };
  for (const auto& [layout, says] : others) {
    const std::string name = fmt::format("x{}", root.children().size());
    write_raw(root, name, type_of(layout, false).get(), std::vector<std::byte>(8 * layout.bytes), {8});
    const std::string message = refusal(root, name);
    EXPECT_NE(message.find(fmt::format("'{}' is ", name)), std::string::npos) << message;
    EXPECT_NE(message.find(says), std::string::npos) << message;
    EXPECT_THROW(root.read_float(name), h5::Error);
  }
  write_raw(root, "half", type_of(kHalf, false).get(), std::vector<std::byte>(16), {8});
  root.set_dataset_attribute("half", "dtype", "bfloat16");
  EXPECT_NE(refusal(root, "half").find("is float16, but its attribute dtype says bfloat16"), std::string::npos);
}

TEST(FloatTypes, AttributesOfOneNumber) {
  for (const Layout& layout : {kHalf, kBrain, kSingle, kDouble})
    for (const bool big_endian : {false, true})
      for (const std::uint64_t bits : {std::uint64_t(1), std::uint64_t(3) << layout.mantissa | 1}) {
        const h5::File file = h5::File::create();
        const h5::Handle type = type_of(layout, big_endian), space(H5Screate(H5S_SCALAR), H5Sclose);
        {
          const h5::Handle attribute(
              H5Acreate2(file.root().id(), "scale", type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
          ASSERT_GE(H5Awrite(attribute.get(), type.get(), bytes_of({bits}, layout.bytes, big_endian).data()), 0);
        }
        EXPECT_EQ(file.root().number_attribute("scale", 0), meaning(layout, bits)) << layout.name << " " << big_endian;
      }
}

TEST(FloatTypes, IntegersThatDoNotFitAreRefused) {
  const h5::File file = h5::File::create();
  const h5::Group& root = file.root();
  root.write("signed", std::vector<std::int64_t>{-1, 5}, {2});
  root.write("float", std::vector<float>{1.5f}, {1});
  write_raw(root, "short", H5T_STD_U16BE, {std::byte(1), std::byte(2)}, {1});
  EXPECT_THROW(root.read_uint32("signed"), h5::Error);
  EXPECT_THROW(root.read_int64("float"), h5::Error);
  EXPECT_EQ(root.read_int64("signed"), (std::vector<std::int64_t>{-1, 5}));
  EXPECT_EQ(root.read_uint32("short"), std::vector<std::uint32_t>{258});
}

}  // namespace
}  // namespace salebench
