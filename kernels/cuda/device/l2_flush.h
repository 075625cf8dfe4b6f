// Emptying L2 before something is timed.
#pragma once

#include <cstddef>

#include "kernels/cuda/device/device_problem.h"

namespace salebench::cuda {

/// Reads zeros from a buffer of twice L2, so that their lines take the place of all others, after what kernels made
/// persist there is set free. Reading leaves clean lines behind: those that writing leaves must go to memory before the
/// next ones come, and what is timed would pay for it. `never_written` is one word in device memory.
void flush_l2_by_reading(const void* zeros, std::size_t bytes, unsigned* never_written, Stream stream);

}  // namespace salebench::cuda
