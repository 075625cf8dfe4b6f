// Starting a cell in a process of its own, so that a crash, a hang or a kill costs one cell.
#pragma once

#include <string>
#include <vector>

namespace salebench {

struct WorkerEnd {
  enum class How { exited, signalled, timed_out, interrupted } how = How::exited;
  int code = 0;  ///< exit code, or signal number
};

/// Runs this program with the given arguments, its output appended to a log file, and waits. After `timeout` seconds,
/// or once interrupted, it is killed. It also dies when this process does. Throws WriteError if the log can't be
/// opened.
WorkerEnd run_worker(const std::vector<std::string>& arguments, const std::string& log_path, double timeout);

/// "SIGSEGV (Segmentation fault)"
std::string signal_text(int signal);

/// The last lines of a log file, on one line.
std::string log_tail(const std::string& log_path, std::size_t max_chars = 300);

}  // namespace salebench
