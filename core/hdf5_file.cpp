// Files of the HDF5 wrapper; groups are in hdf5.cpp.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/atomic_file.h"
#include "core/hdf5.h"
#include "core/hdf5_errors.h"

namespace salebench::h5 {
namespace {

constexpr std::size_t kMemoryIncrement = 1 << 20;

/// HDF5 prints its error stack to stderr unless told not to; our errors carry what a user needs.
void silence() {
  static const bool done = [] {
    H5dont_atexit();  // its exit handler crashes on a file that a full disk kept from closing
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
    return true;
  }();
  (void)done;
}

}  // namespace

File::File(Handle id, const std::string& where)
    : id_(std::move(id)), root_(Handle(H5Gopen2(id_.get(), "/", H5P_DEFAULT), H5Gclose), where) {}

File File::open(const std::string& path) {
  silence();
  Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  if (file.get() < 0) throw Error(fmt::format("cannot open {}: {}", path, why_not_opened(path)));
  return {std::move(file), path + ":/"};
}

File File::create() {
  silence();
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_fapl_core(access.get(), kMemoryIncrement, false);
  Handle file(H5Fcreate("salebench-in-memory", H5F_ACC_TRUNC, H5P_DEFAULT, access.get()), H5Fclose);
  if (file.get() < 0) throw Error("cannot create an HDF5 file in memory");
  return {std::move(file), "/"};
}

File File::create_on_disk(const std::string& path) {
  silence();
  Handle file(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), H5Fclose);
  if (file.get() < 0) throw WriteError(fmt::format("cannot write {}: {}", path, std::strerror(errno)));
  return {std::move(file), path + ":/"};
}

File File::open_to_add(const std::string& path) {
  silence();
  Handle file(H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT), H5Fclose);
  if (file.get() < 0) throw WriteError(fmt::format("cannot write {}", path));
  return {std::move(file), path + ":/"};
}

void File::flush() const {
  if (H5Fflush(id_.get(), H5F_SCOPE_GLOBAL) < 0) throw Error("cannot write the file: is the disk full?");
}

void File::save(const std::string& path) const {
  if (H5Fflush(id_.get(), H5F_SCOPE_GLOBAL) < 0) throw Error(fmt::format("cannot build {}", path));
  const ssize_t size = H5Fget_file_image(id_.get(), nullptr, 0);
  std::vector<char> image(std::size_t(std::max<ssize_t>(size, 0)));
  if (size <= 0 || H5Fget_file_image(id_.get(), image.data(), image.size()) != size)
    throw Error(fmt::format("cannot build {}", path));
  write_file_atomically(path, image.data(), image.size());
}

}  // namespace salebench::h5
