// How HDF5 stores floats. They are read in the type that they are stored in and converted here, since HDF5's own
// conversions between float types round halves away from zero and halve some subnormals.
#pragma once

#include <hdf5.h>

#include <cstddef>
#include <optional>
#include <span>
#include <string>

namespace salebench::h5 {

enum class FloatType { kFloat16, kBfloat16, kFloat32, kFloat64 };

/// A float type of a file: IEEE's, or bfloat16, without gaps between its bits.
struct StoredFloat {
  FloatType type;
  bool big_endian;
  std::size_t size() const;  ///< bytes
};

/// What kind of float an HDF5 type is, by its exponent and mantissa; none for all others.
std::optional<StoredFloat> stored_float(hid_t type);

/// A type in words: "float16", "uint16", "a float of 2 bytes with 4 bits of exponent and 11 of mantissa", ...
std::string type_text(hid_t type);

/// Numbers of a type from their bytes, exact; floats are not made of float64. `bytes` holds values.size() of them.
void decode(StoredFloat from, std::span<const std::byte> bytes, std::span<float> values);
void decode(StoredFloat from, std::span<const std::byte> bytes, std::span<double> values);

}  // namespace salebench::h5
