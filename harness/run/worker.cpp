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

#include "core/atomic_file.h"
#include "harness/support/interrupts.h"

namespace salebench {

namespace {

/// NAME=VALUE of this process, but for those in `environment`.
std::vector<std::string> variables_with(const Environment& environment) {
  std::vector<std::string> variables;
  for (char** variable = ::environ; *variable; ++variable) {
    const std::string text = *variable;
    if (!environment.contains(text.substr(0, text.find('=')))) variables.push_back(text);
  }
  for (const auto& [name, value] : environment) variables.push_back(fmt::format("{}={}", name, value));
  return variables;
}

/// As execve() wants them; they live as long as the words.
std::vector<char*> pointers_to(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return pointers;
}

/// In the child: never returns.
[[noreturn]] void become_worker(std::vector<char*>& argv, std::vector<char*>& envp, int log, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);  // the parent died before the line above
  ::setpgid(0, 0);                          // Ctrl-C is for the parent, which then ends the worker,
  ::signal(SIGTERM, SIG_IGN);               // as is what a batch system sends to all processes of a job
  ::dup2(log, STDOUT_FILENO);
  ::dup2(log, STDERR_FILENO);
  ::execve("/proc/self/exe", argv.data(), envp.data());
  ::_exit(127);
}

}  // namespace

Worker::Worker(const std::vector<std::string>& arguments, const std::string& log_path, double timeout,
               const Environment& environment) {
  std::vector<std::string> words = {"salebench"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<std::string> variables = variables_with(environment);
  const int log = ::open(log_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (log < 0) throw WriteError(fmt::format("cannot write {}: {}", log_path, std::strerror(errno)));
  // All made before fork(): a child may not allocate.
  std::vector<char*> argv = pointers_to(words), envp = pointers_to(variables);
  const pid_t parent = ::getpid();
  child_ = ::fork();
  if (child_ == 0) become_worker(argv, envp, log, parent);
  ::close(log);
  if (child_ < 0) throw std::runtime_error(fmt::format("cannot start a worker: {}", std::strerror(errno)));
  deadline_ = std::chrono::steady_clock::now() +
              std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(timeout));
}

Worker::~Worker() {
  if (is_reaped_) return;
  ::kill(child_, SIGKILL);
  ::waitpid(child_, nullptr, 0);
}

std::optional<WorkerEnd> Worker::poll() {
  int status = 0;
  if (::waitpid(child_, &status, WNOHANG) == child_) {
    is_reaped_ = true;
    if (end_.how != WorkerEnd::How::exited) return end_;
    if (WIFSIGNALED(status)) return WorkerEnd{WorkerEnd::How::signalled, WTERMSIG(status)};
    return WorkerEnd{WorkerEnd::How::exited, WEXITSTATUS(status)};
  }
  if (end_.how != WorkerEnd::How::exited) return std::nullopt;  // it was killed and is about to end
  if (interrupted)
    end_ = {WorkerEnd::How::interrupted, SIGKILL};
  else if (std::chrono::steady_clock::now() > deadline_)
    end_ = {WorkerEnd::How::timed_out, SIGKILL};
  if (end_.how != WorkerEnd::How::exited) ::kill(child_, SIGKILL);
  return std::nullopt;
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
