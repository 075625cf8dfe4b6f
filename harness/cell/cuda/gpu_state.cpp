#include "harness/cell/cuda/gpu_state.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <thread>
#include <vector>

namespace salebench {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr auto kLongest = milliseconds(1000);
constexpr const char* kQuery =
    "--query-gpu=temperature.gpu,power.draw,enforced.power.limit,clocks.sm,clocks.mem,pstate,"
    "clocks_event_reasons.active";

/// NVML's nvmlClocksEventReason*, by bit.
constexpr const char* kThrottleReasons[] = {"gpu_idle",
                                            "applications_clocks_setting",
                                            "sw_power_cap",
                                            "hw_slowdown",
                                            "sync_boost",
                                            "sw_thermal_slowdown",
                                            "hw_thermal_slowdown",
                                            "hw_power_brake_slowdown",
                                            "display_clocks_setting"};

std::vector<std::string> fields_of(const std::string& line) {
  std::vector<std::string> fields;
  for (std::size_t begin = 0; begin <= line.size();) {
    const std::size_t end = std::min(line.find(',', begin), line.size());
    const std::size_t first = line.find_first_not_of(" \r\n", begin), last = line.find_last_not_of(" \r\n", end - 1);
    fields.push_back(first < end ? line.substr(first, last - first + 1) : "");
    begin = end + 1;
  }
  return fields;
}

/// NaN for "[N/A]" and the like.
double number_of(const std::string& field) {
  char* end = nullptr;
  const double value = std::strtod(field.c_str(), &end);
  return field.empty() || *end != '\0' ? NAN : value;
}

std::string throttle_of(const std::string& field) {
  if (!field.starts_with("0x")) return "";
  const std::uint64_t bits = std::strtoull(field.c_str(), nullptr, 16);
  std::string text;
  for (int bit = 0; bit < 64; ++bit) {
    if (!(bits >> bit & 1)) continue;
    if (!text.empty()) text += '+';
    text += bit < int(std::size(kThrottleReasons)) ? kThrottleReasons[bit] : fmt::format("{:#x}", 1ull << bit);
  }
  return text.empty() ? "none" : text;
}

/// The program's standard output up to its end, a line break or the deadline.
std::string read_line(int from, Clock::time_point deadline) {
  std::string line;
  while (line.find('\n') == std::string::npos) {
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now()).count();
    pollfd ready{from, POLLIN, 0};
    if (left <= 0 || ::poll(&ready, 1, int(left)) < 0) break;
    char bytes[512];
    const ssize_t got = ready.revents ? ::read(from, bytes, sizeof bytes) : 0;
    if (got <= 0) break;
    line.append(bytes, std::size_t(got));
  }
  return line;
}

/// Whether the program ended by itself with success before the deadline; afterwards it has ended either way, unless the
/// driver keeps it from being killed, which is not waited for.
bool end_of(pid_t child, Clock::time_point deadline) {
  bool killed = false;
  for (auto until = deadline; true; std::this_thread::sleep_for(milliseconds(1))) {
    int status = 0;
    const pid_t done = ::waitpid(child, &status, WNOHANG);
    if (done != 0) return done == child && !killed && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (Clock::now() < until) continue;
    if (killed) return false;
    ::kill(-child, SIGKILL);
    killed = true;
    until += milliseconds(100);
  }
}

/// Starts a program of PATH, without a shell, in a process group of its own. Its output goes to `output`. -1 if it does
/// not start.
pid_t start(const std::vector<std::string>& words, int output) {
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  ::posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  pid_t child = -1;
  const int error = ::posix_spawnp(&child, argv[0], &files, &attributes, argv.data(), environ);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&files);
  return error == 0 ? child : -1;
}

}  // namespace

std::optional<GpuState> parse_gpu_state(const std::string& line) {
  const std::vector<std::string> fields = fields_of(line);
  if (fields.size() != 7) return std::nullopt;
  GpuState state{number_of(fields[0]),  number_of(fields[1]), number_of(fields[2]),
                 number_of(fields[3]),  number_of(fields[4]), {},
                 throttle_of(fields[6])};
  if (fields[5].starts_with('P')) state.performance_state = fields[5];
  for (const double value :
       {state.temperature_c, state.power_w, state.power_limit_w, state.sm_clock_mhz, state.memory_clock_mhz})
    if (!std::isnan(value)) return state;
  return std::nullopt;
}

std::optional<GpuState> read_gpu_state(const std::string& uuid) {
  const auto deadline = Clock::now() + kLongest;
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return std::nullopt;
  const pid_t child = start({"nvidia-smi", "--id=" + uuid, kQuery, "--format=csv,noheader,nounits"}, ends[1]);
  ::close(ends[1]);
  const std::string line = child > 0 ? read_line(ends[0], deadline) : "";
  ::close(ends[0]);
  if (child <= 0 || !end_of(child, deadline)) return std::nullopt;
  return parse_gpu_state(line);
}

}  // namespace salebench
