// Zip archives, read-only: what np.savez and np.savez_compressed write, with zip64.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "datasets/files/tensor_file.h"

namespace salebench {

/// What the central directory says of an entry.
struct ZipEntry {
  std::string name;
  std::uint64_t size = 0;         ///< bytes when unpacked
  std::uint64_t packed_size = 0;  ///< bytes in the archive
  std::uint64_t local_header = 0;
  std::uint32_t crc32 = 0;
  std::uint16_t method = 0;  ///< 0 stored, 8 deflated
  bool encrypted = false;
};

class ZipFile {
 public:
  /// Reads the directory. Throws DataError where the file is no zip archive, truncated or damaged.
  explicit ZipFile(const std::string& path);

  const std::vector<ZipEntry>& entries() const { return entries_; }
  /// The unpacked bytes of an entry, stored or deflated; `where` names it in messages. They are unpacked while they are
  /// read: going forward costs no memory, going back starts anew. Their checksum is compared where the end is reached.
  /// Throws DataError, as do the reads.
  std::shared_ptr<ByteSource> open(std::size_t index, const std::string& where) const;

 private:
  std::string path_;
  std::shared_ptr<ByteSource> bytes_;
  std::uint64_t directory_begin_ = 0;
  std::vector<ZipEntry> entries_;
};

}  // namespace salebench
