// What else runs on the machine: times that were taken beside other busy processes say little.
#pragma once

#include <chrono>
#include <string>

namespace salebench {

/// Watches, from its construction on, how many cores other processes keep busy.
class LoadWatch {
 public:
  LoadWatch();
  /// Mean number of cores kept busy since then by others than this process and its workers that have ended (stolen by a
  /// hypervisor included); NaN where the system does not tell.
  double other_cores() const;
  double seconds() const;

 private:
  double busy_ = 0, own_ = 0;  // CPU seconds
  std::chrono::steady_clock::time_point start_;
};

/// Load average of the last minute; NaN where the system does not tell.
double load_average();

/// Whether `threads` threads had to share their cores with so many busy ones of others.
bool is_busy(double other_cores, int threads);

/// "load 9.1 on 2 cores, of which other processes keep 1.9 busy"
std::string load_text(double other_cores);

/// Lets threads that wait for others sleep soon instead of spinning, which on a busy machine takes the cores from those
/// they wait for. OpenMP reads this when the program is loaded, so it starts the program anew, once; does nothing where
/// the user has said how threads wait.
void wait_passively(char** argv);

}  // namespace salebench
