// Where numbers come from: machine, program, libraries.
#pragma once

#include <string>

namespace salebench {

/// Commit the program was built from, with "+dirty" if the tree had changes; "unknown" outside git.
std::string git_revision();

/// "salebench 0.1.0 (0123456789ab)"
std::string version_text();

/// "2026-11-24T08:00:00Z"
std::string utc_now();

/// Name of the machine.
std::string node_name();

/// Model name of the CPU.
std::string cpu_model();

/// JSON object: program (version, commit, compiler, flags, libraries, plugins), host (name, CPU, cores, memory, OS,
/// load, SIMD), cuda (devices, or why there are none).
std::string provenance_json();

}  // namespace salebench
