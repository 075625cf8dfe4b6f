// How the program ends: exit codes, and the errors that lead to them.
#pragma once

#include <stdexcept>

namespace salebench {

enum ExitCode : int {
  kAllDone = 0,
  kSomeCellsFailed = 1,
  kUsage = 2,            ///< command line or config
  kRegressed = 3,        ///< `compare --fail-on-regression` found one
  kNothingMeasured = 4,  ///< no cell left, or none that ran; nothing to compare
  kNoDeviceOrData = 5,
  kCannotWrite = 6,  ///< output folder, full disk
  kInterrupted = 130,
};

/// The config or command line is wrong; the message says where and what would be right.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A backend that this build or machine does not have.
struct NoDevice : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// How the program ends after an error that nothing caught.
ExitCode exit_code_of(const std::exception& error);

}  // namespace salebench
