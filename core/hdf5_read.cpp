// Datasets of the HDF5 wrapper, read; groups, attributes and writing are in hdf5.cpp.
#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "core/hdf5.h"
#include "core/hdf5_errors.h"
#include "core/hdf5_numbers.h"

namespace salebench::h5 {
namespace {

Handle type_of_dataset(const Handle& dataset) {
  return {H5Dget_type(dataset.get()), H5Tclose};
}

/// Whether every value of an integer type fits in another.
bool fits(hid_t type, std::size_t size, bool is_signed) {
  const bool from_signed = H5Tget_sign(type) != H5T_SGN_NONE;
  const std::size_t from = H5Tget_size(type);
  return H5Tget_class(type) == H5T_INTEGER && (from_signed == is_signed ? from <= size : !from_signed && from < size);
}

}  // namespace

Extents Group::extents(const std::string& name) const {
  const Handle dataset = open_dataset(name);
  const Handle space(H5Dget_space(dataset.get()), H5Sclose);
  Extents sizes(std::size_t(std::max(0, H5Sget_simple_extent_ndims(space.get()))));
  H5Sget_simple_extent_dims(space.get(), sizes.data(), nullptr);
  return sizes;
}

std::string Group::type_of(const std::string& name) const {
  return type_text(type_of_dataset(open_dataset(name)).get());
}

std::string Group::opaque_tag(const std::string& name) const {
  const Handle type = type_of_dataset(open_dataset(name));
  if (H5Tget_class(type.get()) != H5T_OPAQUE) return "";
  char* text = H5Tget_tag(type.get());
  std::string tag(text ? text : "");
  H5free_memory(text);
  return tag;
}

std::size_t Group::count_of(const std::string& name) const {
  const Handle dataset = open_dataset(name);
  const Handle space(H5Dget_space(dataset.get()), H5Sclose);
  const hssize_t count = H5Sget_simple_extent_npoints(space.get());
  if (count < 0) fail("has no size:", name);
  return std::size_t(count);
}

void Group::read_into(const std::string& name, hid_t memory_type, void* values) const {
  const Handle dataset = open_dataset(name);
  if (H5Dread(dataset.get(), memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0) {
    const std::string why = why_not_read();
    throw Error(fmt::format("{}: cannot read '{}': {}", where_, name, why));
  }
}

template <class T>
std::vector<T> Group::read_array(const std::string& name, hid_t memory_type) const {
  std::vector<T> values(count_of(name));
  if (!values.empty()) read_into(name, memory_type, values.data());
  return values;
}

template <class T>
std::vector<T> Group::read_floats(const std::string& name) const {
  const Handle type = type_of_dataset(open_dataset(name));
  const auto stored = stored_float(type.get());
  if (!stored || stored->size() > sizeof(T))
    throw Error(fmt::format("{}: '{}' is {}, not {}", where_, name, type_text(type.get()),
                            sizeof(T) == 4 ? "float16, bfloat16 or float32" : "a float of up to 64 bits"));
  std::vector<T> values(count_of(name));
  if (values.empty()) return values;
  const bool as_it_is = stored->size() == sizeof(T) && stored->big_endian == (std::endian::native == std::endian::big);
  if (as_it_is) {
    read_into(name, type.get(), values.data());
    return values;
  }
  std::vector<std::byte> bytes(values.size() * stored->size());
  read_into(name, type.get(), bytes.data());
  decode(*stored, bytes, values);
  return values;
}

template <class T>
std::vector<T> Group::read_integers(const std::string& name, hid_t memory_type, bool is_signed) const {
  const Handle type = type_of_dataset(open_dataset(name));
  if (!fits(type.get(), sizeof(T), is_signed))
    throw Error(fmt::format("{}: '{}' is {}, not {}int{}", where_, name, type_text(type.get()), is_signed ? "" : "u",
                            8 * sizeof(T)));
  return read_array<T>(name, memory_type);
}

std::vector<float> Group::read_float(const std::string& name) const {
  return read_floats<float>(name);
}
std::vector<double> Group::read_double(const std::string& name) const {
  return read_floats<double>(name);
}
std::vector<std::uint16_t> Group::read_uint16(const std::string& name) const {
  return read_integers<std::uint16_t>(name, H5T_NATIVE_UINT16, false);
}
std::vector<std::uint32_t> Group::read_uint32(const std::string& name) const {
  return read_integers<std::uint32_t>(name, H5T_NATIVE_UINT32, false);
}
std::vector<std::int64_t> Group::read_int64(const std::string& name) const {
  return read_integers<std::int64_t>(name, H5T_NATIVE_INT64, true);
}

std::vector<std::byte> Group::read_opaque(const std::string& name) const {
  const Handle type = type_of_dataset(open_dataset(name));
  if (H5Tget_class(type.get()) != H5T_OPAQUE) fail("has a type:", name);
  std::vector<std::byte> bytes(count_of(name) * H5Tget_size(type.get()));
  if (!bytes.empty()) read_into(name, type.get(), bytes.data());
  return bytes;
}

std::vector<std::string> Group::read_strings(const std::string& name) const {
  const Handle type = type_of_dataset(open_dataset(name));
  if (H5Tis_variable_str(type.get()) <= 0) fail("is no text of variable length:", name);
  const std::vector<char*> texts = read_array<char*>(name, type.get());
  std::vector<std::string> values;
  for (char* text : texts) {
    values.emplace_back(text ? text : "");
    H5free_memory(text);
  }
  return values;
}

}  // namespace salebench::h5
