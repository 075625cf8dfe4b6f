// Whether a program's CUDA code runs on a device.
#pragma once

#include <string_view>

namespace salebench::cuda {

/// Whether code for any of the architectures, as in CMAKE_CUDA_ARCHITECTURES with commas between ("80-virtual,90a"),
/// runs on compute capability major.minor. Machine code ("-real") runs on its major version from its minor one on, PTX
/// ("-virtual") on everything later, both (no ending) on either; code with a letter, as 90a, only on that very chip.
/// Source: CUDA C++ Programming Guide, "Application Compatibility".
bool runs_on(std::string_view architectures, int major, int minor);

}  // namespace salebench::cuda
