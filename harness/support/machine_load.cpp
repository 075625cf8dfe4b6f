#include "harness/support/machine_load.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <string>

namespace salebench {
namespace {

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

/// What others may take of the cores that the threads of a cell need.
constexpr double kTolerated = 0.25;

/// How often a waiting OpenMP thread looks before it sleeps: some microseconds, as long as the gap between two parallel
/// loops of a kernel.
constexpr const char* kSpinCount = "10000";

/// CPU seconds that all processes have used, and those that a hypervisor took; NaN where /proc does not tell.
double busy_seconds() {
  std::ifstream file("/proc/stat");
  std::string word;
  double user, nice, system, idle, iowait, irq, softirq, steal;
  if (!(file >> word >> user >> nice >> system >> idle >> iowait >> irq >> softirq >> steal)) return kUnknown;
  return (user + nice + system + irq + softirq + steal) / double(sysconf(_SC_CLK_TCK));
}

double own_seconds() {
  double sum = 0;
  for (const int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage usage{};
    getrusage(who, &usage);
    for (const timeval& t : {usage.ru_utime, usage.ru_stime}) sum += double(t.tv_sec) + 1e-6 * double(t.tv_usec);
  }
  return sum;
}

}  // namespace

LoadWatch::LoadWatch() : busy_(busy_seconds()), own_(own_seconds()), start_(std::chrono::steady_clock::now()) {}

double LoadWatch::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

double LoadWatch::other_cores() const {
  return std::fmax(0, busy_seconds() - busy_ - (own_seconds() - own_)) / seconds();
}

double load_average() {
  double load = 0;
  return getloadavg(&load, 1) == 1 ? load : kUnknown;
}

bool is_busy(double other_cores, int threads) {
  const double cores = double(sysconf(_SC_NPROCESSORS_ONLN));
  return std::fmin(threads, cores) + other_cores > cores + kTolerated;
}

std::string load_text(double other_cores) {
  return fmt::format("load {:.1f} on {} cores, of which other processes keep {:.1f} busy", load_average(),
                     sysconf(_SC_NPROCESSORS_ONLN), other_cores);
}

void wait_passively(char** argv) {
  for (const char* name : {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"})
    if (std::getenv(name)) return;
  ::setenv("GOMP_SPINCOUNT", kSpinCount, 1);  // GNU's OpenMP
  ::setenv("KMP_BLOCKTIME", "0", 1);          // LLVM's
  ::execv("/proc/self/exe", argv);            // where that fails, threads wait as they would have
}

}  // namespace salebench
