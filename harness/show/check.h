// `salebench check`: is a capture sound, and which of its heads can be sparse at all?
#pragma once

#include <string>
#include <vector>

namespace salebench {

struct CheckOptions {
  std::string path;
  std::string block = "64x32";  ///< tile of the oracle's density, rows x keys
  int length = 0;               ///< the first tokens; 0 for all
  bool json = false;
};

/// Prints, per head, the mean norm of Q and K rows, the share of K's energy in its mean over tokens, and the oracle's
/// tile density at 90, 95 and 99 % recall: the smallest number of tiles whose true mass reaches the recall / causal
/// tiles, mean over query blocks. Throws DataError, after all problems, if one of them is not sound.
void check_capture(const CheckOptions& options);

}  // namespace salebench
