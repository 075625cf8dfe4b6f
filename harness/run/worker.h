// Starting a cell in a process of its own, so that a crash, a hang or a kill costs one cell.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace salebench {

/// How often workers are looked after.
constexpr auto kWorkerPoll = std::chrono::milliseconds(5);

struct WorkerEnd {
  enum class How { exited, signalled, timed_out, interrupted } how = How::exited;
  int code = 0;  ///< exit code, or signal number
};

/// Variables that a worker has beside, or instead of, those of this process.
using Environment = std::map<std::string, std::string>;

/// This program with the given arguments, its output in a log file. After `timeout` seconds, or once interrupted, it is
/// killed; also when this object goes, or this process dies.
class Worker {
 public:
  /// Throws WriteError if the log can't be opened.
  Worker(const std::vector<std::string>& arguments, const std::string& log_path, double timeout,
         const Environment& environment);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// How it ended; nothing while it runs.
  std::optional<WorkerEnd> poll();

 private:
  pid_t child_;
  std::chrono::steady_clock::time_point deadline_;
  bool is_reaped_ = false;
  WorkerEnd end_;
};

/// "SIGSEGV (Segmentation fault)"
std::string signal_text(int signal);

/// The last lines of a log file, on one line.
std::string log_tail(const std::string& log_path, std::size_t max_chars = 300);

}  // namespace salebench
