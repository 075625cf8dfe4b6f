#include "datasets/files/zip.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <new>

#include "core/data_error.h"

namespace salebench {
namespace {

constexpr std::uint32_t kEnd = 0x06054b50, kEnd64 = 0x06064b50, kLocator64 = 0x07064b50, kCentral = 0x02014b50,
                        kLocal = 0x04034b50;
constexpr std::size_t kEndSize = 22, kEnd64Size = 56, kLocator64Size = 20, kCentralSize = 46, kLocalSize = 30;
constexpr std::uint64_t kLongestDirectory = 4 << 20;  // some 60,000 entries
constexpr std::size_t kBuffer = 1 << 16;

using Bytes = std::vector<std::byte>;

Bytes read_bytes(ByteSource& from, std::uint64_t offset, std::size_t size) {
  Bytes bytes(size);
  from.read(offset, bytes);
  return bytes;
}

struct Directory {
  std::uint64_t begin = 0, size = 0, count = 0;
};

/// Where the record is that ends the archive: the last one whose comment reaches to the end of the file.
std::uint64_t find_end(ByteSource& file, const std::string& path) {
  const std::size_t span = std::size_t(std::min<std::uint64_t>(file.size(), kEndSize + 0xffff));
  const Bytes tail = read_bytes(file, file.size() - span, span);
  for (std::size_t at = span - std::min(span, kEndSize) + 1; at-- > 0;)
    if (span - at >= kEndSize && little_endian<std::uint32_t>(tail, at) == kEnd &&
        little_endian<std::uint16_t>(tail, at + 20) == span - at - kEndSize)
      return file.size() - span + at;
  throw DataError(fmt::format("{} is not a .npz, or truncated: it does not end as a zip archive does", path));
}

/// The place and size of the directory; those of zip64 where the plain fields are full.
Directory find_directory(ByteSource& file, const std::string& path) {
  std::uint64_t end = find_end(file, path);
  const Bytes record = read_bytes(file, end, kEndSize);
  Directory found = {little_endian<std::uint32_t>(record, 16), little_endian<std::uint32_t>(record, 12),
                     little_endian<std::uint16_t>(record, 10)};
  const auto damaged = [&] { return DataError(fmt::format("{} is damaged: its zip directory can't be found", path)); };
  if (found.begin == 0xffffffff || found.size == 0xffffffff || found.count == 0xffff) {
    if (end < kLocator64Size) throw damaged();
    const Bytes locator = read_bytes(file, end - kLocator64Size, kLocator64Size);
    const auto end64 = little_endian<std::uint64_t>(locator, 8);
    if (little_endian<std::uint32_t>(locator) != kLocator64 || end64 > end) throw damaged();
    const Bytes record64 = read_bytes(file, end64, kEnd64Size);
    if (little_endian<std::uint32_t>(record64) != kEnd64) throw damaged();
    found = {little_endian<std::uint64_t>(record64, 48), little_endian<std::uint64_t>(record64, 40),
             little_endian<std::uint64_t>(record64, 32)};
    end = end64;
  }
  if (found.begin > end || found.size > end - found.begin) throw damaged();
  if (found.size > kLongestDirectory) throw DataError(fmt::format("{} holds too many files", path));
  return found;
}

/// Replaces the fields that are full by those of the zip64 part of `extra`. False where that is missing.
bool read_zip64(std::span<const std::byte> extra, ZipEntry& entry) {
  std::vector<std::uint64_t*> full;
  for (std::uint64_t* field : {&entry.size, &entry.packed_size, &entry.local_header})
    if (*field == 0xffffffff) full.push_back(field);
  if (full.empty()) return true;
  while (extra.size() >= 4) {
    const auto id = little_endian<std::uint16_t>(extra), length = little_endian<std::uint16_t>(extra, 2);
    extra = extra.subspan(4);
    if (length > extra.size()) return false;
    if (id == 1) {
      if (length < full.size() * 8) return false;
      for (std::size_t i = 0; i < full.size(); ++i) *full[i] = little_endian<std::uint64_t>(extra, i * 8);
      return true;
    }
    extra = extra.subspan(length);
  }
  return false;
}

/// Takes one entry off the front of the directory. Throws DataError.
ZipEntry take_entry(std::span<const std::byte>& directory, const std::string& path) {
  const auto damaged = [&] { return DataError(fmt::format("{} is damaged: its zip directory makes no sense", path)); };
  const std::span<const std::byte> d = directory;
  if (d.size() < kCentralSize || little_endian<std::uint32_t>(d) != kCentral) throw damaged();
  const std::size_t name = little_endian<std::uint16_t>(d, 28), extra = little_endian<std::uint16_t>(d, 30);
  const std::size_t comment = little_endian<std::uint16_t>(d, 32);
  if (d.size() - kCentralSize < name + extra + comment) throw damaged();
  ZipEntry entry;
  entry.encrypted = little_endian<std::uint16_t>(d, 8) & 1;
  entry.method = little_endian<std::uint16_t>(d, 10);
  entry.crc32 = little_endian<std::uint32_t>(d, 16);
  entry.packed_size = little_endian<std::uint32_t>(d, 20);
  entry.size = little_endian<std::uint32_t>(d, 24);
  entry.local_header = little_endian<std::uint32_t>(d, 42);
  entry.name.assign(reinterpret_cast<const char*>(d.data() + kCentralSize), name);
  if (!read_zip64(d.subspan(kCentralSize + name, extra), entry)) throw damaged();
  directory = d.subspan(kCentralSize + name + extra + comment);
  return entry;
}

/// What an entry unpacks to, from its begin to its end. Going back starts anew.
class EntryBytes : public ByteSource {
 public:
  EntryBytes(std::shared_ptr<ByteSource> packed, const ZipEntry& entry, const std::string& where)
      : ByteSource(where, entry.size), packed_(std::move(packed)), entry_(entry), buffer_(kBuffer) {
    if (deflated() && inflateInit2(&stream_, -MAX_WBITS) != Z_OK) throw std::bad_alloc();
  }
  ~EntryBytes() override {
    if (deflated()) inflateEnd(&stream_);
  }
  EntryBytes(const EntryBytes&) = delete;
  EntryBytes& operator=(const EntryBytes&) = delete;

  void finish() override { skip_to(size()); }

 private:
  bool deflated() const { return entry_.method == 8; }
  [[noreturn]] void damaged() const {
    throw DataError(fmt::format("{} is damaged: it does not unpack to what was packed", name()));
  }

  void read_checked(std::uint64_t offset, std::span<std::byte> out) override {
    if (offset < at_) start_anew();
    skip_to(offset);
    unpack(out);
  }

  void start_anew() {
    if (deflated()) inflateReset(&stream_);
    stream_.avail_in = 0;
    packed_at_ = at_ = 0;
    crc_ = 0;
  }

  void skip_to(std::uint64_t offset) {
    Bytes unused(std::size_t(std::min<std::uint64_t>(offset - at_, kBuffer)));
    while (at_ < offset) unpack(std::span(unused).first(std::size_t(std::min<std::uint64_t>(offset - at_, kBuffer))));
  }

  /// The next bytes. At the end, compares the checksum.
  void unpack(std::span<std::byte> out) {
    for (std::span<std::byte> rest = out; !rest.empty();) {
      const std::span<std::byte> piece =
          rest.first(std::min<std::size_t>(rest.size(), 1 << 30));  // zlib counts in 32 bits
      if (!deflated()) {
        packed_->read(at_, piece);
      } else if (inflate_some(piece) != piece.size()) {
        damaged();
      }
      crc_ = std::uint32_t(::crc32(crc_, reinterpret_cast<const Bytef*>(piece.data()), uInt(piece.size())));
      at_ += piece.size();
      rest = rest.subspan(piece.size());
    }
    std::byte more{};
    if (at_ == size() && (crc_ != entry_.crc32 || (deflated() && inflate_some({&more, 1}) != 0))) damaged();
  }

  /// Inflates up to out.size() bytes; fewer where the packed data end.
  std::size_t inflate_some(std::span<std::byte> out) {
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = uInt(out.size());
    while (stream_.avail_out > 0) {
      if (stream_.avail_in == 0) {
        const std::size_t size = std::size_t(std::min<std::uint64_t>(packed_->size() - packed_at_, kBuffer));
        packed_->read(packed_at_, std::span(buffer_).first(size));
        packed_at_ += size;
        stream_.next_in = reinterpret_cast<Bytef*>(buffer_.data());
        stream_.avail_in = uInt(size);
      }
      const int result = ::inflate(&stream_, Z_NO_FLUSH);
      if (result == Z_STREAM_END) break;
      if (result != Z_OK) damaged();  // Z_BUF_ERROR too: the packed data end within the stream
    }
    return out.size() - stream_.avail_out;
  }

  std::shared_ptr<ByteSource> packed_;
  ZipEntry entry_;
  Bytes buffer_;
  z_stream stream_{};
  std::uint64_t packed_at_ = 0, at_ = 0;
  std::uint32_t crc_ = 0;
};

}  // namespace

ZipFile::ZipFile(const std::string& path) : path_(path), bytes_(open_bytes(path)) {
  const Directory found = find_directory(*bytes_, path);
  directory_begin_ = found.begin;
  const Bytes bytes = read_bytes(*bytes_, found.begin, std::size_t(found.size));
  std::span<const std::byte> directory = bytes;
  for (std::uint64_t i = 0; i < found.count; ++i) entries_.push_back(take_entry(directory, path));
  if (!directory.empty()) throw DataError(fmt::format("{} is damaged: its zip directory makes no sense", path));
}

std::shared_ptr<ByteSource> ZipFile::open(std::size_t index, const std::string& where) const {
  const ZipEntry& entry = entries_.at(index);
  if (entry.encrypted) throw DataError(fmt::format("{} is encrypted", where));
  if (entry.method != 0 && entry.method != 8)
    throw DataError(fmt::format("{} is packed by zip method {}; only stored and deflated arrays are imported", where,
                                entry.method));
  if (entry.method == 0 && entry.size != entry.packed_size)
    throw DataError(fmt::format("{} is damaged: stored bytes have two different sizes", where));
  if (entry.local_header > directory_begin_ || directory_begin_ - entry.local_header < kLocalSize)
    throw DataError(fmt::format("{} is damaged: it lies outside the archive", where));
  const Bytes local = read_bytes(*bytes_, entry.local_header, kLocalSize);
  if (little_endian<std::uint32_t>(local) != kLocal)
    throw DataError(fmt::format("{} is damaged: it is not where the zip directory says", where));
  const std::uint64_t begin = entry.local_header + kLocalSize + little_endian<std::uint16_t>(local, 26) +
                              little_endian<std::uint16_t>(local, 28);
  return std::make_shared<EntryBytes>(part_of(bytes_, where, begin, entry.packed_size), entry, where);
}

}  // namespace salebench
