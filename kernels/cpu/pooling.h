// Means and maxima of consecutive rows.
#pragma once

#include <vector>

namespace salebench::cpu {

/// Means over blocks of `block` rows of x [rows, dim]; the last block divides by the rows it has. [blocks, dim].
std::vector<float> mean_pool(const float* x, int rows, int dim, int block);

/// Largest values of each channel over the same blocks. [blocks, dim].
std::vector<float> max_pool(const float* x, int rows, int dim, int block);

}  // namespace salebench::cpu
