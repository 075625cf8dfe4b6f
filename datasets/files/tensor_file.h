// Files of named tensors, read in pieces: what .npy, .npz and .safetensors have in common. Nothing in such a file is
// trusted: every offset, length and count is checked against the file before it is used.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace salebench {

/// Bytes that are read in pieces: a file, part of one, or what a compressed part unpacks to.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  std::uint64_t size() const { return size_; }
  /// Fills `out` from byte `offset` on. Throws DataError beyond the end, and where the file can't be read.
  void read(std::uint64_t offset, std::span<std::byte> out);
  /// Reads what is left up to the end, where a format keeps a checksum. Throws DataError where that is wrong.
  virtual void finish() {}

 protected:
  /// `name` is how messages call it.
  ByteSource(std::string name, std::uint64_t size) : name_(std::move(name)), size_(size) {}
  const std::string& name() const { return name_; }

 private:
  virtual void read_checked(std::uint64_t offset, std::span<std::byte> out) = 0;

  std::string name_;
  std::uint64_t size_;
};

/// A regular file on disk. Throws DataError where there is none that can be read.
std::shared_ptr<ByteSource> open_bytes(const std::string& path);

/// Bytes [begin, begin + size) of another source. Throws DataError where that has fewer.
std::shared_ptr<ByteSource> part_of(std::shared_ptr<ByteSource> whole, std::string name, std::uint64_t begin,
                                    std::uint64_t size);

enum class ElementType { kFloat16, kBfloat16, kFloat32, kFloat64, kBool, kOther };

/// Bytes of one element; 0 for kOther.
std::size_t size_of(ElementType type);

/// A tensor as its file describes it, row-major and little-endian.
struct TensorInfo {
  std::string name;  ///< empty for the one tensor of a .npy
  ElementType type = ElementType::kOther;
  std::string type_name;  ///< as the file spells it
  std::vector<std::uint64_t> shape;
};

/// One file of tensors; several may be read in turn, each best from its begin to its end.
class TensorFile {
 public:
  virtual ~TensorFile() = default;
  const std::string& path() const { return path_; }
  const std::vector<std::string>& names() const { return names_; }
  /// Throws DataError for a damaged header and for tensors that can't be imported, such as those in Fortran order.
  /// `index` counts in names().
  virtual TensorInfo info(std::size_t index) = 0;
  /// The data of that tensor: product(shape) * size_of(type) bytes.
  virtual std::shared_ptr<ByteSource> data(std::size_t index) = 0;

 protected:
  explicit TensorFile(std::string path) : path_(std::move(path)) {}
  void set_names(std::vector<std::string> names) { names_ = std::move(names); }

 private:
  std::string path_;
  std::vector<std::string> names_;
};

/// Opens a .npy, .npz or .safetensors file; its name tells which. Throws std::invalid_argument for other names and
/// DataError for a damaged file.
std::unique_ptr<TensorFile> open_tensor_file(const std::string& path);

/// Little-endian elements as float32, exact but for float64, which is rounded to odd: rounding that to 16 bits then
/// gives what rounding the float64 would. Beyond the range of float32 is infinity. `bytes` holds
/// values.size() * size_of(type) bytes.
void to_float32(ElementType type, std::span<const std::byte> bytes, std::span<float> values);

/// Number of bytes that a tensor takes. Throws DataError, with `where` in its message, if that overflows 64 bits.
std::uint64_t byte_count(const std::vector<std::uint64_t>& shape, std::size_t element_size, const std::string& where);

/// A little-endian number at an offset of `bytes`, which must hold it.
template <class T>
T little_endian(std::span<const std::byte> bytes, std::size_t offset = 0) {
  T value = 0;
  for (std::size_t i = sizeof(T); i > 0; --i) value = T(value << 7 << 1 | T(bytes[offset + i - 1]));
  return value;
}

/// Text of a file for a message: on one line, of bounded length.
std::string printable(std::string_view text);

}  // namespace salebench
