// How a cell ended. Times exist only where the status is ok.
#pragma once

#include <array>
#include <stdexcept>
#include <string>
#include <string_view>

namespace salebench {

enum class Status { ok, unsupported, incorrect, error, oom, timeout, crashed, interrupted };

inline constexpr std::array<std::string_view, 8> kStatusNames = {"ok",  "unsupported", "incorrect", "error",
                                                                 "oom", "timeout",     "crashed",   "interrupted"};

inline std::string_view status_name(Status status) {
  return kStatusNames[std::size_t(status)];
}

/// Throws std::invalid_argument for a name that is not one of kStatusNames.
inline Status parse_status(std::string_view name) {
  for (std::size_t i = 0; i < kStatusNames.size(); ++i)
    if (kStatusNames[i] == name) return Status(i);
  throw std::invalid_argument("unknown status '" + std::string(name) + "'");
}

/// A method can't run a problem (a shape, dtype or machine it does not cover). A result, not a failure.
struct Unsupported : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace salebench
