#include "core/atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace salebench {
namespace {

/// Writes all of it; false with errno set otherwise.
bool write_all(int file, const char* bytes, std::size_t size) {
  while (size > 0) {
    const ssize_t written = ::write(file, bytes, size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes += written;
    size -= std::size_t(written);
  }
  return true;
}

}  // namespace

void write_file_atomically(const std::string& path, const void* bytes, std::size_t size) {
  if (struct stat there{}; ::stat(path.c_str(), &there) == 0 && !S_ISREG(there.st_mode))
    throw WriteError(fmt::format("cannot write {}: it is there and no regular file", path));
  const std::string temporary = fmt::format("{}.tmp.{}", path, ::getpid());
  const int file = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0) throw WriteError(fmt::format("cannot write {}: {}", path, std::strerror(errno)));
  bool good = write_all(file, static_cast<const char*>(bytes), size) && ::fsync(file) == 0;
  int error = errno;
  if (::close(file) != 0 && good) {
    good = false;
    error = errno;
  }
  if (good && std::rename(temporary.c_str(), path.c_str()) != 0) {
    good = false;
    error = errno;
  }
  if (!good) {
    ::unlink(temporary.c_str());
    throw WriteError(fmt::format("cannot write {}: {}", path, std::strerror(error)));
  }
}

}  // namespace salebench
