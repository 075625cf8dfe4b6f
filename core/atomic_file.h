// Files that are there whole or not at all.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>

namespace salebench {

/// Results, caches or logs can't be written: a full disk, a missing permission.
struct WriteError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Writes bytes to `path`.tmp.PID, syncs it and renames it to `path`. Throws WriteError with the system's reason and
/// removes the temporary file. What is no regular file, as a device, is left alone.
void write_file_atomically(const std::string& path, const void* bytes, std::size_t size);

}  // namespace salebench
