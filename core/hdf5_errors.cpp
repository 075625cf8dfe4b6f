#include "core/hdf5_errors.h"

#include <fmt/format.h>
#include <hdf5.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

namespace salebench::h5 {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLongestCommand = 80;

/// Descriptions of the error stack, the cause first.
std::vector<std::string> error_stack() {
  std::vector<std::string> stack;
  const auto add = [](unsigned, const H5E_error2_t* error, void* list) {
    std::string text = error->desc ? error->desc : "";
    std::ranges::replace(text, '\n', ' ');
    if (!text.empty()) static_cast<std::vector<std::string>*>(list)->push_back(std::move(text));
    return herr_t(0);
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, add, &stack);
  return stack;
}

/// The description that holds a text, from there on; empty if none does.
std::string find(const std::vector<std::string>& stack, const std::string& text) {
  for (const std::string& line : stack)
    if (const std::size_t at = line.find(text); at != std::string::npos) return line.substr(at);
  return "";
}

std::string cause(const std::vector<std::string>& stack) {
  return stack.empty() ? "HDF5 does not say why" : "HDF5 says: " + stack.front();
}

/// The number behind "name = " in a description; 0 where there is none.
long long number_after(const std::string& text, const std::string& name) {
  const std::size_t at = text.find(name + " = ");
  return at == std::string::npos ? 0 : std::atoll(text.c_str() + at + name.size() + 3);
}

bool has_open(const std::string& process, const std::string& path) {
  std::error_code error;
  for (fs::directory_iterator entry("/proc/" + process + "/fd", error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code unreadable;
    if (fs::equivalent(entry->path(), path, unreadable)) return true;
  }
  return false;
}

/// The id of the process that holds a write lock on a file, by /proc/locks; empty where the system does not say.
std::string lock_holder(const std::string& path) {
  struct stat file {};
  if (::stat(path.c_str(), &file) != 0) return "";
  const std::string device = fmt::format("{:02x}:{:02x}:", major(file.st_dev), minor(file.st_dev));
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);) {
    std::istringstream words(line);  // 1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF
    std::string number, kind, strictness, access, process, place;
    words >> number >> kind >> strictness >> access >> process >> place;
    if (access != "WRITE" || !place.ends_with(fmt::format(":{}", file.st_ino))) continue;
    // Some file systems show one device to stat and another here.
    if (place.starts_with(device) || has_open(process, path)) return process;
  }
  return "";
}

std::string command_of(const std::string& process) {
  std::ifstream file("/proc/" + process + "/cmdline", std::ios::binary);
  std::string command((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  while (command.ends_with('\0')) command.pop_back();
  for (char& c : command)
    if (c < ' ' || c > '~') c = c == '\0' ? ' ' : '?';
  return command.size() > kLongestCommand ? command.substr(0, kLongestCommand) + "..." : command;
}

std::string why_locked(const std::string& path, const std::string& lock_error) {
  const int error = int(number_after(lock_error, "errno"));
  if (error != EAGAIN && error != EACCES)
    return fmt::format("it can't be locked ({}); where a file system has no locks, HDF5_USE_FILE_LOCKING=FALSE helps",
                       std::strerror(error));
  const std::string process = lock_holder(path);
  if (process.empty()) return "it is locked: another program has it open for writing; close it there";
  const std::string command = command_of(process);
  return fmt::format("it is locked: process {}{} has it open for writing; close it there", process,
                     command.empty() ? "" : fmt::format(" ({})", command));
}

}  // namespace

std::string why_not_opened(const std::string& path) {
  const std::vector<std::string> stack = error_stack();
  if (::access(path.c_str(), R_OK) != 0) return std::strerror(errno);
  std::error_code unknown;
  if (fs::is_directory(path, unknown)) return "it is a folder";
  if (const std::string lock = find(stack, "unable to lock file"); !lock.empty()) return why_locked(path, lock);
  if (!find(stack, "file is already open for write").empty())
    return "it is marked as open for writing: a program is writing it, or ended without closing it (then `h5clear -s` "
           "removes the mark)";
  if (const std::string cut = find(stack, "truncated file: "); !cut.empty())
    return fmt::format("it is truncated: {} of {} bytes are there", number_after(cut, "eof"),
                       number_after(cut, "stored_eof"));
  if (fs::file_size(path, unknown) == 0) return "it is empty, perhaps truncated";
  if (!find(stack, "signature not found").empty()) return "it is not an HDF5 file";
  return cause(stack);
}

std::string why_not_read() {
  const std::vector<std::string> stack = error_stack();
  if (const std::string filter = find(stack, "required filter '"); !filter.empty()) {
    const std::size_t begin = filter.find('\'') + 1;
    return fmt::format("it is compressed with '{}', which this program's HDF5 can't read; store it with gzip or plain",
                       filter.substr(begin, filter.find('\'', begin) - begin));
  }
  return cause(stack);
}

}  // namespace salebench::h5
