#include "kernels/cuda/device/images.h"

#include <charconv>

namespace salebench::cuda {
namespace {

bool one_runs_on(std::string_view architecture, int major, int minor) {
  int number = 0;
  const auto [end, error] = std::from_chars(architecture.data(), architecture.data() + architecture.size(), number);
  const std::string_view rest = architecture.substr(std::size_t(end - architecture.data()));
  const int chip = 10 * major + minor;
  if (!rest.empty() && rest[0] == 'a') return number == chip;
  const bool same_major = number / 10 == major && number % 10 <= minor;
  if (rest.starts_with("-real") || (!rest.empty() && rest[0] == 'f')) return same_major;
  return number <= chip;
}

}  // namespace

bool runs_on(std::string_view architectures, int major, int minor) {
  while (!architectures.empty()) {
    const std::size_t comma = architectures.find(',');
    if (one_runs_on(architectures.substr(0, comma), major, minor)) return true;
    if (comma == std::string_view::npos) return false;
    architectures.remove_prefix(comma + 1);
  }
  return false;
}

}  // namespace salebench::cuda
