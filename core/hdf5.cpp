#include "core/hdf5.h"

#include <fmt/format.h>
#include <hdf5_hl.h>

#include <algorithm>
#include <cstring>

#include "core/hdf5_numbers.h"

namespace salebench::h5 {
namespace {

Handle string_type() {
  Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type.get(), H5T_VARIABLE);
  H5Tset_cset(type.get(), H5T_CSET_UTF8);
  return type;
}

/// IEEE binary16, which HDF5 1.10 does not name: h5py reads it as float16.
Handle half_type() {
  Handle type(H5Tcopy(H5T_IEEE_F32LE), H5Tclose);
  H5Tset_fields(type.get(), 15, 10, 5, 0, 10);
  H5Tset_size(type.get(), 2);
  H5Tset_ebias(type.get(), 15);
  return type;
}

/// No time stamps, so that equal content makes equal files.
Handle dataset_properties() {
  Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_obj_track_times(properties.get(), false);
  return properties;
}

/// A conversion buffer of 64 KB. HDF5's own of 1 MB, cleared for every column of text however short, was most of the
/// time that a small cell took.
Handle transfer_properties() {
  Handle properties(H5Pcreate(H5P_DATASET_XFER), H5Pclose);
  H5Pset_buffer(properties.get(), std::size_t(1) << 16, nullptr, nullptr);
  return properties;
}

Handle scalar() {
  return Handle(H5Screate(H5S_SCALAR), H5Sclose);
}

bool holds_one_value(hid_t attribute) {
  const Handle space(H5Aget_space(attribute), H5Sclose);
  return H5Sget_simple_extent_npoints(space.get()) == 1;
}

/// An attribute of any object, as text; numbers are not converted.
std::string read_string_attribute(hid_t object, const std::string& name, const std::string& otherwise) {
  const Handle attribute(H5Aopen(object, name.c_str(), H5P_DEFAULT), H5Aclose);
  if (attribute.get() < 0 || !holds_one_value(attribute.get())) return otherwise;
  const Handle stored(H5Aget_type(attribute.get()), H5Tclose);
  if (H5Tget_class(stored.get()) != H5T_STRING) return otherwise;
  if (H5Tis_variable_str(stored.get()) > 0) {
    const Handle type = string_type();
    char* text = nullptr;
    if (H5Aread(attribute.get(), type.get(), &text) < 0 || text == nullptr) return otherwise;
    std::string value(text);
    H5free_memory(text);
    return value;
  }
  std::string value(H5Tget_size(stored.get()), '\0');
  if (H5Aread(attribute.get(), stored.get(), value.data()) < 0) return otherwise;
  value.resize(std::strlen(value.c_str()));
  return value;
}

/// A number attribute of any object. Throws Error for one that is not a single number.
double read_number_attribute(hid_t object, const std::string& name, double otherwise, const std::string& where) {
  if (H5Aexists(object, name.c_str()) <= 0) return otherwise;
  const Handle attribute(H5Aopen(object, name.c_str(), H5P_DEFAULT), H5Aclose);
  const Handle stored(H5Aget_type(attribute.get()), H5Tclose);
  const auto fail = [&] {
    throw Error(fmt::format("{}: attribute '{}' is not one number that can be read: it is {}{}", where, name,
                            type_text(stored.get()), holds_one_value(attribute.get()) ? "" : ", of several values"));
  };
  if (!holds_one_value(attribute.get())) fail();
  if (H5Tget_class(stored.get()) == H5T_ENUM) {  // h5py stores booleans as an enum of int8
    signed char flag = 0;
    if (H5Tget_size(stored.get()) != 1 || H5Aread(attribute.get(), stored.get(), &flag) < 0) fail();
    return flag;
  }
  double value = otherwise;
  if (const auto from = stored_float(stored.get())) {
    std::byte bytes[sizeof value];
    if (H5Aread(attribute.get(), stored.get(), bytes) < 0) fail();
    decode(*from, bytes, std::span(&value, 1));
  } else if (H5Tget_class(stored.get()) != H5T_INTEGER || H5Aread(attribute.get(), H5T_NATIVE_DOUBLE, &value) < 0) {
    fail();
  }
  return value;
}

void write_attribute(hid_t object, const std::string& name, hid_t type, const void* value, const std::string& where) {
  const Handle space = scalar();
  const Handle attribute(H5Acreate2(object, name.c_str(), type, space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  if (attribute.get() < 0 || H5Awrite(attribute.get(), type, value) < 0)
    throw Error(fmt::format("{}: cannot write attribute '{}'", where, name));
}

void write_string_attribute(hid_t object, const std::string& name, const std::string& value, const std::string& where) {
  const char* text = value.c_str();
  write_attribute(object, name, string_type().get(), &text, where);
}

}  // namespace

void Group::fail(const std::string& what, const std::string& name) const {
  throw Error(fmt::format("{}: {} '{}'", where_, what, name));
}

bool Group::has(const std::string& name) const {
  return H5Lexists(id(), name.c_str(), H5P_DEFAULT) > 0;
}

std::vector<std::string> Group::children() const {
  std::vector<std::string> names;
  H5G_info_t info{};
  if (H5Gget_info(id(), &info) < 0) fail("cannot list", "");
  for (hsize_t i = 0; i < info.nlinks; ++i) {
    char name[1024];
    if (H5Lget_name_by_idx(id(), ".", H5_INDEX_NAME, H5_ITER_INC, i, name, sizeof name, H5P_DEFAULT) < 0)
      fail("cannot list", "");
    names.emplace_back(name);
  }
  return names;
}

Group Group::open_group(const std::string& name) const {
  Handle group(has(name) ? H5Gopen2(id(), name.c_str(), H5P_DEFAULT) : -1, H5Gclose);
  if (group.get() < 0) fail("has no group", name);
  return {std::move(group), where_ + name + "/"};
}

Group Group::create_group(const std::string& name) const {
  Handle group(H5Gcreate2(id(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Gclose);
  if (group.get() < 0) fail("cannot create group", name);
  return {std::move(group), where_ + name + "/"};
}

void Group::copy_from(const Group& source, const std::string& source_name, const std::string& name) const {
  if (H5Ocopy(source.id(), source_name.c_str(), id(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT) < 0)
    fail("cannot copy", name);
}

std::vector<std::string> Group::attributes() const {
  return attributes(".");
}

std::vector<std::string> Group::attributes(const std::string& child) const {
  std::vector<std::string> names;
  const auto add = [](hid_t, const char* name, const H5A_info_t*, void* list) {
    static_cast<std::vector<std::string>*>(list)->emplace_back(name);
    return herr_t(0);
  };
  if (H5Aiterate_by_name(id(), child.c_str(), H5_INDEX_NAME, H5_ITER_INC, nullptr, add, &names, H5P_DEFAULT) < 0)
    fail("cannot list attributes of", child);
  return names;
}

bool Group::has_attribute(const std::string& name) const {
  return H5Aexists(id(), name.c_str()) > 0;
}

std::string Group::string_attribute(const std::string& name, const std::string& otherwise) const {
  return has_attribute(name) ? read_string_attribute(id(), name, otherwise) : otherwise;
}

double Group::number_attribute(const std::string& name, double otherwise) const {
  return read_number_attribute(id(), name, otherwise, where_);
}

void Group::set_attribute(const std::string& name, const std::string& value) const {
  write_string_attribute(id(), name, value, where_);
}
void Group::set_attribute(const std::string& name, std::int64_t value) const {
  write_attribute(id(), name, H5T_NATIVE_INT64, &value, where_);
}

void Group::set_attribute(const std::string& name, double value) const {
  write_attribute(id(), name, H5T_NATIVE_DOUBLE, &value, where_);
}

Handle Group::open_dataset(const std::string& name) const {
  Handle dataset(has(name) ? H5Dopen2(id(), name.c_str(), H5P_DEFAULT) : -1, H5Dclose);
  if (dataset.get() < 0) fail("has no dataset", name);
  return dataset;
}

std::string Group::dataset_attribute(const std::string& dataset, const std::string& name) const {
  const Handle handle = open_dataset(dataset);
  return H5Aexists(handle.get(), name.c_str()) > 0 ? read_string_attribute(handle.get(), name, "") : "";
}

double Group::dataset_number(const std::string& dataset, const std::string& name, double otherwise) const {
  return read_number_attribute(open_dataset(dataset).get(), name, otherwise, where_ + dataset);
}

void Group::write_array(const std::string& name, const void* values, hid_t memory_type, hid_t file_type,
                        const Extents& extents) const {
  const Handle space(H5Screate_simple(int(extents.size()), extents.data(), nullptr), H5Sclose);
  const Handle dataset(
      H5Dcreate2(id(), name.c_str(), file_type, space.get(), H5P_DEFAULT, dataset_properties().get(), H5P_DEFAULT),
      H5Dclose);
  const bool empty = H5Sget_simple_extent_npoints(space.get()) == 0;
  const Handle transfer = transfer_properties();
  if (dataset.get() < 0 ||
      (!empty && H5Dwrite(dataset.get(), memory_type, H5S_ALL, H5S_ALL, transfer.get(), values) < 0))
    fail("cannot write", name);
}

void Group::write(const std::string& name, std::span<const double> values, const Extents& extents) const {
  write_array(name, values.data(), H5T_NATIVE_DOUBLE, H5T_IEEE_F64LE, extents);
}
void Group::write(const std::string& name, std::span<const float> values, const Extents& extents) const {
  write_array(name, values.data(), H5T_NATIVE_FLOAT, H5T_IEEE_F32LE, extents);
}
void Group::write(const std::string& name, std::span<const std::int64_t> values, const Extents& extents) const {
  write_array(name, values.data(), H5T_NATIVE_INT64, H5T_STD_I64LE, extents);
}
void Group::write(const std::string& name, std::span<const std::uint32_t> values, const Extents& extents) const {
  write_array(name, values.data(), H5T_NATIVE_UINT32, H5T_STD_U32LE, extents);
}
void Group::write_16bit(const std::string& name, std::span<const std::uint16_t> bits, const Extents& extents,
                        bool is_float) const {
  const Handle half = half_type();
  const hid_t type = is_float ? half.get() : H5T_STD_U16LE;
  write_array(name, bits.data(), type, type, extents);
}

void Group::create_16bit(const std::string& name, const Extents& extents, bool is_float) const {
  const Handle half = half_type();
  const Handle space(H5Screate_simple(int(extents.size()), extents.data(), nullptr), H5Sclose);
  const Handle dataset(H5Dcreate2(id(), name.c_str(), is_float ? half.get() : H5T_STD_U16LE, space.get(), H5P_DEFAULT,
                                  dataset_properties().get(), H5P_DEFAULT),
                       H5Dclose);
  if (dataset.get() < 0) fail("cannot create", name);
}

void Group::write_16bit_rows(const std::string& name, hsize_t head, hsize_t first,
                             std::span<const std::uint16_t> bits) const {
  const Handle dataset = open_dataset(name);
  const hsize_t dim = extents(name).at(2);
  const Handle type(H5Dget_type(dataset.get()), H5Tclose);
  const Handle space(H5Dget_space(dataset.get()), H5Sclose);
  const hsize_t start[3] = {head, first, 0}, count[3] = {1, bits.size() / dim, dim};
  const Handle memory(H5Screate_simple(3, count, nullptr), H5Sclose);
  // The stored type, so that the bits go to the file as they are.
  if (H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, start, nullptr, count, nullptr) < 0 ||
      H5Dwrite(dataset.get(), type.get(), memory.get(), space.get(), H5P_DEFAULT, bits.data()) < 0)
    fail("cannot write", name);
}

void Group::write_strings(const std::string& name, std::span<const std::string> values) const {
  std::vector<const char*> texts;
  for (const std::string& value : values) texts.push_back(value.c_str());
  const Handle type = string_type();
  write_array(name, texts.data(), type.get(), type.get(), {values.size()});
}

void Group::set_dataset_attribute(const std::string& dataset, const std::string& name, const std::string& value) const {
  write_string_attribute(open_dataset(dataset).get(), name, value, where_ + dataset);
}
void Group::set_dataset_attribute(const std::string& dataset, const std::string& name, std::int64_t value) const {
  write_attribute(open_dataset(dataset).get(), name, H5T_NATIVE_INT64, &value, where_ + dataset);
}

void Group::make_scale(const std::string& dataset) const {
  if (H5DSset_scale(open_dataset(dataset).get(), dataset.c_str()) < 0)
    fail("cannot make a dimension scale of", dataset);
}
void Group::attach_scale(const std::string& dataset, const std::string& scale) const {
  if (H5DSattach_scale(open_dataset(dataset).get(), open_dataset(scale).get(), 0) < 0)
    fail("cannot attach a dimension scale to", dataset);
}

}  // namespace salebench::h5
