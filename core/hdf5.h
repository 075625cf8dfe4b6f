// RAII over the HDF5 C API: what captures, caches and results need, with errors that name the file and the object.
// The C API is not thread-safe; call from one thread.
#pragma once

#include <hdf5.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace salebench::h5 {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Owns an HDF5 identifier of any kind.
class Handle {
 public:
  Handle() = default;
  Handle(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(close_, other.close_);
    return *this;
  }
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  hid_t get() const { return id_; }

 private:
  hid_t id_ = -1;
  herr_t (*close_)(hid_t) = nullptr;
};

using Extents = std::vector<hsize_t>;

/// A group or a file's root.
class Group {
 public:
  Group(Handle id, std::string where) : id_(std::move(id)), where_(std::move(where)) {}
  hid_t id() const { return id_.get(); }
  const std::string& where() const { return where_; }  ///< "file.h5:/problems", for messages

  bool has(const std::string& name) const;
  std::vector<std::string> children() const;  ///< names in alphabetical order
  Group open_group(const std::string& name) const;
  Group create_group(const std::string& name) const;
  /// Copies an object, with all below it, from another file.
  void copy_from(const Group& source, const std::string& source_name, const std::string& name) const;

  std::vector<std::string> attributes() const;  ///< names in alphabetical order
  std::vector<std::string> attributes(const std::string& child) const;
  bool has_attribute(const std::string& name) const;
  std::string string_attribute(const std::string& name, const std::string& otherwise = "") const;
  double number_attribute(const std::string& name, double otherwise) const;
  void set_attribute(const std::string& name, const std::string& value) const;
  void set_attribute(const std::string& name, std::int64_t value) const;
  void set_attribute(const std::string& name, double value) const;

  Extents extents(const std::string& dataset) const;
  std::string dataset_attribute(const std::string& dataset, const std::string& name) const;
  double dataset_number(const std::string& dataset, const std::string& name, double otherwise) const;
  /// How a dataset's values are stored, in words: "float16", "bfloat16", "float32", "float64", "uint16", ...
  std::string type_of(const std::string& dataset) const;
  std::string opaque_tag(const std::string& dataset) const;  ///< of bytes of no type; else empty
  /// Values as they are stored, exact, in either byte order: never converted by HDF5, whose conversions between float
  /// types round halves away from zero. Throw Error for a type that does not fit: read_float takes float16, bfloat16
  /// and float32, read_double also float64, the others integers that fit.
  std::vector<float> read_float(const std::string& dataset) const;
  std::vector<double> read_double(const std::string& dataset) const;
  std::vector<std::uint16_t> read_uint16(const std::string& dataset) const;
  std::vector<std::uint32_t> read_uint32(const std::string& dataset) const;
  std::vector<std::int64_t> read_int64(const std::string& dataset) const;
  std::vector<std::byte> read_opaque(const std::string& dataset) const;
  std::vector<std::string> read_strings(const std::string& dataset) const;

  void write(const std::string& dataset, std::span<const double> values, const Extents& extents) const;
  void write(const std::string& dataset, std::span<const float> values, const Extents& extents) const;
  void write(const std::string& dataset, std::span<const std::int64_t> values, const Extents& extents) const;
  void write(const std::string& dataset, std::span<const std::uint32_t> values, const Extents& extents) const;
  /// 16-bit floats from their bits, stored as IEEE binary16; as uint16 where is_float is false.
  void write_16bit(const std::string& dataset, std::span<const std::uint16_t> bits, const Extents& extents,
                   bool is_float) const;
  /// An empty dataset [heads, rows, dim] of 16-bit values, and rows [first, first + count) of one head of it; for
  /// tensors too large to hold at once.
  void create_16bit(const std::string& dataset, const Extents& extents, bool is_float) const;
  void write_16bit_rows(const std::string& dataset, hsize_t head, hsize_t first,
                        std::span<const std::uint16_t> bits) const;
  void write_strings(const std::string& dataset, std::span<const std::string> values) const;
  void set_dataset_attribute(const std::string& dataset, const std::string& name, const std::string& value) const;
  void set_dataset_attribute(const std::string& dataset, const std::string& name, std::int64_t value) const;
  /// Dimension scales give the rows of a table a shared dimension, which xarray needs.
  void make_scale(const std::string& dataset) const;
  void attach_scale(const std::string& dataset, const std::string& scale) const;

 private:
  void write_array(const std::string& dataset, const void* values, hid_t memory_type, hid_t file_type,
                   const Extents& extents) const;
  std::size_t count_of(const std::string& dataset) const;
  void read_into(const std::string& dataset, hid_t memory_type, void* values) const;
  template <class T>
  std::vector<T> read_array(const std::string& dataset, hid_t memory_type) const;
  template <class T>
  std::vector<T> read_floats(const std::string& dataset) const;
  template <class T>
  std::vector<T> read_integers(const std::string& dataset, hid_t memory_type, bool is_signed) const;
  Handle open_dataset(const std::string& name) const;
  [[noreturn]] void fail(const std::string& what, const std::string& name) const;

  Handle id_;
  std::string where_;
};

/// A file. Reading: opened in place. Writing: built in memory, then saved to disk in one go, so that a full disk or a
/// killed process leaves either the whole new file or the old one.
class File {
 public:
  static File open(const std::string& path);
  static File create();
  /// For files too large for memory: written in place. The caller names a temporary path and renames it when done.
  static File create_on_disk(const std::string& path);
  /// A file that exists, to put more into it in place. Throws WriteError.
  static File open_to_add(const std::string& path);

  const Group& root() const { return root_; }
  /// Brings everything written so far to the disk. Throws Error where it does not fit.
  void flush() const;
  /// Writes the file to `path` by way of `path`.tmp, fsync and rename. Throws WriteError with the system's reason.
  void save(const std::string& path) const;

 private:
  File(Handle id, const std::string& where);
  Handle id_;
  Group root_;
};

}  // namespace salebench::h5
