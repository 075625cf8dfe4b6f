#include "datasets/files/tensor_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "core/data_error.h"
#include "core/half.h"
#include "datasets/files/npy.h"
#include "datasets/files/npz.h"
#include "datasets/files/safetensors.h"

namespace salebench {
namespace {

class FileBytes : public ByteSource {
 public:
  FileBytes(const std::string& path, int file, std::uint64_t size) : ByteSource(path, size), file_(file) {}
  ~FileBytes() override { ::close(file_); }
  FileBytes(const FileBytes&) = delete;
  FileBytes& operator=(const FileBytes&) = delete;

 private:
  void read_checked(std::uint64_t offset, std::span<std::byte> out) override {
    while (!out.empty()) {
      const ssize_t got = ::pread(file_, out.data(), out.size(), off_t(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) throw DataError(fmt::format("cannot read {}: {}", name(), std::strerror(errno)));
      if (got == 0) throw DataError(fmt::format("{} became shorter while it was read", name()));
      offset += std::uint64_t(got);
      out = out.subspan(std::size_t(got));
    }
  }

  int file_;
};

class PartOfBytes : public ByteSource {
 public:
  PartOfBytes(std::shared_ptr<ByteSource> whole, std::string name, std::uint64_t begin, std::uint64_t size)
      : ByteSource(std::move(name), size), whole_(std::move(whole)), begin_(begin) {}
  void finish() override { whole_->finish(); }

 private:
  void read_checked(std::uint64_t offset, std::span<std::byte> out) override { whole_->read(begin_ + offset, out); }

  std::shared_ptr<ByteSource> whole_;
  std::uint64_t begin_;
};

/// Towards zero, with the last bit set where that loses anything; infinity beyond float32.
float round_to_odd(double value) {
  float nearest = float(value);
  if (double(nearest) == value || !std::isfinite(nearest)) return nearest;
  if (std::fabs(double(nearest)) > std::fabs(value)) nearest = std::nextafter(nearest, 0.0f);
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(nearest) | 1u);
}

}  // namespace

void ByteSource::read(std::uint64_t offset, std::span<std::byte> out) {
  if (offset > size_ || out.size() > size_ - offset)
    throw DataError(fmt::format("{} is truncated: {} bytes from byte {} on are needed, it has {}", name_, out.size(),
                                offset, size_));
  if (!out.empty()) read_checked(offset, out);
}

std::shared_ptr<ByteSource> open_bytes(const std::string& path) {
  // Without O_NONBLOCK, opening a pipe would wait for its writer.
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) throw DataError(fmt::format("cannot open {}: {}", path, std::strerror(errno)));
  struct stat status {};
  if (::fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(file);
    throw DataError(fmt::format("cannot read {}: not a regular file", path));
  }
  return std::make_shared<FileBytes>(path, file, std::uint64_t(status.st_size));
}

std::shared_ptr<ByteSource> part_of(std::shared_ptr<ByteSource> whole, std::string name, std::uint64_t begin,
                                    std::uint64_t size) {
  if (begin > whole->size() || size > whole->size() - begin)
    throw DataError(fmt::format("{} is truncated: its data take {} bytes, {} are there", name, size,
                                whole->size() - std::min(begin, whole->size())));
  return std::make_shared<PartOfBytes>(std::move(whole), std::move(name), begin, size);
}

std::size_t size_of(ElementType type) {
  switch (type) {
    case ElementType::kFloat16:
    case ElementType::kBfloat16:
      return 2;
    case ElementType::kFloat32:
      return 4;
    case ElementType::kFloat64:
      return 8;
    case ElementType::kBool:
      return 1;
    case ElementType::kOther:
      break;
  }
  return 0;
}

std::unique_ptr<TensorFile> open_tensor_file(const std::string& path) {
  if (path.ends_with(".npy")) return open_npy(path);
  if (path.ends_with(".npz")) return open_npz(path);
  if (path.ends_with(".safetensors")) return open_safetensors(path);
  throw std::invalid_argument(fmt::format("{}: only .npy, .npz and .safetensors files are imported", path));
}

void to_float32(ElementType type, std::span<const std::byte> bytes, std::span<float> values) {
  const std::size_t size = size_of(type);
  for (std::size_t i = 0; i < values.size(); ++i) {
    switch (type) {
      case ElementType::kFloat16:
        values[i] = half_to_float(little_endian<std::uint16_t>(bytes, i * size));
        break;
      case ElementType::kBfloat16:
        values[i] = bfloat16_to_float(little_endian<std::uint16_t>(bytes, i * size));
        break;
      case ElementType::kFloat32:
        values[i] = std::bit_cast<float>(little_endian<std::uint32_t>(bytes, i * size));
        break;
      case ElementType::kFloat64:
        values[i] = round_to_odd(std::bit_cast<double>(little_endian<std::uint64_t>(bytes, i * size)));
        break;
      case ElementType::kBool:
        values[i] = bytes[i] == std::byte(0) ? 0.0f : 1.0f;
        break;
      case ElementType::kOther:
        throw std::logic_error("elements of another type can't be read");
    }
  }
}

std::uint64_t byte_count(const std::vector<std::uint64_t>& shape, std::size_t element_size, const std::string& where) {
  std::uint64_t count = element_size;
  bool overflow = false, empty = false;
  for (const std::uint64_t size : shape) {
    empty |= size == 0;
    overflow |= __builtin_mul_overflow(count, size, &count);
  }
  if (overflow && !empty) throw DataError(fmt::format("{}: its shape is too large for any file", where));
  return empty ? 0 : count;
}

std::string printable(std::string_view text) {
  constexpr std::size_t kMost = 120;
  std::string line;
  for (const char c : text.substr(0, kMost)) line += c >= ' ' && c <= '~' ? c : '?';
  return text.size() > kMost ? line + "..." : line;
}

}  // namespace salebench
