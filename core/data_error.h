// Input that can't be used.
#pragma once

#include <stdexcept>

namespace salebench {

/// Input data is missing, damaged or makes no sense; the message names the file, the problem and the cure.
struct DataError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace salebench
