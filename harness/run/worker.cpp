#include "harness/run/worker.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <thread>

#include "core/atomic_file.h"
#include "harness/support/interrupts.h"

namespace salebench {

namespace {

constexpr auto kPollInterval = std::chrono::milliseconds(5);

/// In the child: never returns.
[[noreturn]] void become_worker(std::vector<char*>& argv, int log, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);  // the parent died before the line above
  ::setpgid(0, 0);                          // Ctrl-C is for the parent, which then ends the worker
  ::dup2(log, STDOUT_FILENO);
  ::dup2(log, STDERR_FILENO);
  ::execv("/proc/self/exe", argv.data());
  ::_exit(127);
}

}  // namespace

WorkerEnd run_worker(const std::vector<std::string>& arguments, const std::string& log_path, double timeout) {
  std::vector<std::string> words = {"salebench"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const int log = ::open(log_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (log < 0) throw WriteError(fmt::format("cannot write {}: {}", log_path, std::strerror(errno)));
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child == 0) become_worker(argv, log, parent);
  ::close(log);
  if (child < 0) throw std::runtime_error(fmt::format("cannot start a worker: {}", std::strerror(errno)));
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::duration<double>(timeout);
  WorkerEnd end;
  while (true) {
    int status = 0;
    const pid_t done = ::waitpid(child, &status, WNOHANG);
    if (done == child) {
      if (end.how != WorkerEnd::How::exited) return end;
      if (WIFSIGNALED(status)) return {WorkerEnd::How::signalled, WTERMSIG(status)};
      return {WorkerEnd::How::exited, WEXITSTATUS(status)};
    }
    if (end.how == WorkerEnd::How::exited) {
      if (interrupted)
        end = {WorkerEnd::How::interrupted, SIGKILL};
      else if (std::chrono::steady_clock::now() > deadline)
        end = {WorkerEnd::How::timed_out, SIGKILL};
      if (end.how != WorkerEnd::How::exited) ::kill(child, SIGKILL);
    }
    std::this_thread::sleep_for(kPollInterval);
  }
}

std::string signal_text(int signal) {
  const char* name = ::sigabbrev_np(signal);
  return fmt::format("SIG{} ({})", name ? name : std::to_string(signal), ::strsignal(signal));
}

std::string log_tail(const std::string& log_path, std::size_t max_chars) {
  std::ifstream file(log_path);
  std::string text((std::istreambuf_iterator<char>(file)), {});
  std::ranges::replace(text, '\n', ' ');
  while (text.ends_with(' ')) text.pop_back();
  return text.size() > max_chars ? "..." + text.substr(text.size() - max_chars) : text;
}

}  // namespace salebench
