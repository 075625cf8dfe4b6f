// Descriptions of tensors for Hopper's tensor copies.
#pragma once

#include <cuda.h>

#include <initializer_list>

#include "kernels/cuda/device/device_problem.h"

namespace salebench::cuda {

/// One dimension of a tensor: how many elements, bytes from one to the next (of the innermost: 2), and how many a box
/// holds.
struct MapDimension {
  std::int64_t size, stride;
  int box;
};

/// Up to five dimensions of 16-bit elements, innermost first; the innermost box is 64 elements, whose 128 bytes are
/// swizzled in shared memory. Throws DeviceError.
CUtensorMap make_tensor_map(const void* base, Dtype dtype, std::initializer_list<MapDimension> dimensions);

/// Rows of heads [heads, rows, head_dim] as boxes of `box_rows` rows of one head, in shared memory [head_dim /
/// 64][row][64]. Coordinates: 0, row, 0, head.
CUtensorMap map_rows(const void* base, Dtype dtype, int heads, int rows, int head_dim, int box_rows);

/// The same as boxes of a multiple of 8 rows, in shared memory [row / 8][head_dim / 64][8][64], so that boxes which lie
/// one behind the other are one matrix for wgmma. Rows past the last multiple of 8 are left out. Coordinates: 0, 0, 0,
/// row / 8, head.
CUtensorMap map_row_groups(const void* base, Dtype dtype, int heads, int rows, int head_dim, int box_rows);

}  // namespace salebench::cuda
