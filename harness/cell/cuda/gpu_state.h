// What nvidia-smi says of a GPU: heat, power and clocks, and what holds the clocks down.
#pragma once

#include <cmath>
#include <optional>
#include <string>

namespace salebench {

/// A number that the device does not tell is NaN, a text empty.
struct GpuState {
  double temperature_c = NAN;
  double power_w = NAN;
  double power_limit_w = NAN;
  double sm_clock_mhz = NAN;
  double memory_clock_mhz = NAN;
  std::string performance_state;  ///< "P0" is the fastest
  std::string throttle;           ///< NVML's names of the reasons, such as "sw_power_cap+sw_thermal_slowdown"; "none"
};

/// Asks nvidia-smi once. Nothing if there is no nvidia-smi, it knows no such device or none of the figures, or it takes
/// longer than a second. `uuid` is CUDA's, "GPU-...".
std::optional<GpuState> read_gpu_state(const std::string& uuid);

/// A line of nvidia-smi's csv output for the figures that read_gpu_state asks for, without units. Nothing if the line
/// is of another form or has no figure.
std::optional<GpuState> parse_gpu_state(const std::string& line);

}  // namespace salebench
