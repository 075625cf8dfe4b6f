// Kernels that fault, never end, or never repeat themselves, for tests of what a run must survive.
#pragma once

#include <cstddef>

#include "kernels/cuda/device/device_problem.h"

namespace salebench::cuda {

/// Writes to an address that is no memory, which loses the process its device.
void write_to_bad_pointer(Stream stream);

/// One thread that runs until the device's %globaltimer has moved on by so many seconds.
void spin(double seconds, Stream stream);

/// Adds to each of `count` values of an output the number of earlier calls in this process: 0, 1, 2, ...
void add_call_count(Dtype dtype, void* output, std::size_t count, Stream stream);

/// Sets that much of L2 apart for lines that kernels ask to persist.
void let_lines_persist(std::size_t bytes);

/// Reads the values, and asks for their lines to persist in L2.
void read_and_pin(const float* values, std::size_t count, float* sum, Stream stream);

}  // namespace salebench::cuda
