// Descriptions of tensors for Hopper's tensor copies.
#pragma once

#include <cuda.h>

#include <initializer_list>

#include "kernels/cuda/device/device_problem.h"

namespace salebench::cuda {

/// One dimension of a tensor: how many elements, bytes from one to the next (of the innermost: its size), and how many
/// a box holds.
struct MapDimension {
  std::int64_t size, stride;
  int box;
};

/// Up to five dimensions, innermost first; the bytes of the innermost box, 128 or 64, are swizzled in shared memory.
/// Throws DeviceError.
CUtensorMap make_tensor_map(const void* base, CUtensorMapDataType type, std::initializer_list<MapDimension> dimensions);

/// Rows of heads [heads, rows, head_dim] as boxes of `box_rows` rows of one head, in shared memory [head_dim /
/// 64][row][64], or of one 64 channels only, [row][64]. Coordinates: 0, row, channel / 64, head.
CUtensorMap map_rows(const void* base, Dtype dtype, int heads, int rows, int head_dim, int box_rows);
CUtensorMap map_half_rows(const void* base, Dtype dtype, int heads, int rows, int head_dim, int box_rows);

/// Rows of 64 or 128 bytes, [heads, rows, row_bytes], as boxes of `box_rows` rows. Coordinates: 0, row, 0, head.
CUtensorMap map_byte_rows(const void* base, int heads, int rows, int row_bytes, int box_rows);

/// The same as boxes of a multiple of 8 rows, in shared memory [row / 8][head_dim / 64][8][64], so that boxes which lie
/// one behind the other are one matrix for wgmma. Rows past the last multiple of 8 are left out. Coordinates: 0, 0, 0,
/// row / 8, head.
CUtensorMap map_row_groups(const void* base, Dtype dtype, int heads, int rows, int head_dim, int box_rows);

}  // namespace salebench::cuda
