// Which instruction set the kernels run on.
#pragma once

#include <string>
#include <vector>

namespace salebench::cpu {

/// Name of the instruction set in use: "AMX" (with AVX3_DL for what has no AMX kernel), "AVX3_DL" (AVX-512 with VNNI),
/// "AVX3", "AVX2" or a portable one.
std::string simd_name();

/// All that this build and this machine can run, the best first.
std::vector<std::string> simd_names();

/// Uses the named instruction set from now on; "" goes back to the best. Not thread-safe: call when no kernel runs.
/// Throws std::invalid_argument naming those there are. The environment variable SALEBENCH_SIMD does this at start-up.
void set_simd(const std::string& name);

/// Whether "AMX" is in use.
bool use_amx();

}  // namespace salebench::cpu
