#include "harness/support/provenance.h"

#include <benchmark/benchmark.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <hdf5.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <ctime>
#include <fstream>

#include "core/json_text.h"
#include "harness/build_info.h"
#include "harness/support/plugins.h"
#include "kernels/cpu/simd.h"
#include "kernels/cuda/dense/dense_kernels.h"
#include "kernels/cuda/device/devices.h"

namespace salebench {
namespace {

/// The value of the first "name : value" line of a /proc file.
std::string proc_value(const char* path, const std::string& name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(name)) continue;
    const std::size_t colon = line.find(':');
    const std::size_t begin = line.find_first_not_of(" \t", colon + 1);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return "";
}

nlohmann::json host_json() {
  utsname name{};
  uname(&name);
  double load[3] = {};
  getloadavg(load, 3);
  return {{"hostname", name.nodename},
          {"os", fmt::format("{} {} {}", name.sysname, name.release, name.machine)},
          {"cpu", cpu_model()},
          {"cores", sysconf(_SC_NPROCESSORS_ONLN)},
          {"memory", proc_value("/proc/meminfo", "MemTotal")},
          {"simd", cpu::simd_name()},
          {"load_average", {load[0], load[1], load[2]}}};
}

nlohmann::json program_json() {
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  nlohmann::json plugin_files = nlohmann::json::array();
  for (const Plugin& plugin : plugins()) plugin_files.push_back(plugin.text());
  return {{"plugins", plugin_files},
          {"version", kVersion},
          {"git", git_revision()},
          {"compiler", kCompiler},
          {"build_type", kBuildType},
          {"flags", kFlags},
          {"hdf5", fmt::format("{}.{}.{}", major, minor, release)},
          {"fmt", FMT_VERSION}};
}

/// The dense kernels with their versions, or how to get those that are not built in.
nlohmann::json dense_kernels_json() {
  nlohmann::json kernels = nlohmann::json::object();
  for (const cuda::DenseKernel* kernel : cuda::dense_kernels())
    kernels[kernel->name()] = kernel->version().empty() ? "built in" : kernel->version();
  for (const cuda::MissingDenseKernel& missing : cuda::missing_dense_kernels()) kernels[missing.name] = missing.cure;
  return kernels;
}

nlohmann::json cuda_json() {
  const CudaDevices found = cuda_devices();
  nlohmann::json devices = nlohmann::json::array();
  for (const CudaDevice& d : found.devices)
    devices.push_back({{"name", d.name},
                       {"uuid", d.uuid},
                       {"compute_capability", d.compute_capability},
                       {"sms", d.sms},
                       {"l2_bytes", d.l2_bytes},
                       {"memory_bytes", d.memory_bytes},
                       {"clock_khz", d.clock_khz}});
  return {{"devices", devices},
          {"driver", found.driver},
          {"runtime", found.runtime},
          {"why_none", found.why_none},
          {"dense_kernels", dense_kernels_json()}};
}

}  // namespace

std::string utc_now() {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
}

std::string version_text() {
  return fmt::format("salebench {} ({})", kVersion, git_revision());
}

std::string node_name() {
  utsname name{};
  uname(&name);
  return name.nodename;
}

std::string cpu_model() {
  return proc_value("/proc/cpuinfo", "model name");
}

std::string provenance_json() {
  return json_text({{"program", program_json()}, {"host", host_json()}, {"cuda", cuda_json()}});
}

}  // namespace salebench
