#include "kernels/cpu/pooling.h"

#include <algorithm>
#include <cstddef>

namespace salebench::cpu {

std::vector<float> mean_pool(const float* x, int rows, int dim, int block) {
  const int blocks = (rows + block - 1) / block;
  std::vector<float> means(std::size_t(blocks) * dim);
#pragma omp parallel for
  for (int b = 0; b < blocks; ++b) {
    float* const mean = &means[std::size_t(b) * dim];
    const int end = std::min(rows, (b + 1) * block);
    for (int row = b * block; row < end; ++row)
      for (int d = 0; d < dim; ++d) mean[d] += x[std::size_t(row) * dim + d];
    for (int d = 0; d < dim; ++d) mean[d] /= float(end - b * block);
  }
  return means;
}

std::vector<float> max_pool(const float* x, int rows, int dim, int block) {
  const int blocks = (rows + block - 1) / block;
  std::vector<float> most(std::size_t(blocks) * dim);
#pragma omp parallel for
  for (int b = 0; b < blocks; ++b) {
    float* const out = &most[std::size_t(b) * dim];
    const float* const first = x + std::size_t(b) * block * dim;
    std::copy_n(first, dim, out);
    for (int row = 1; row < std::min(block, rows - b * block); ++row)
      for (int d = 0; d < dim; ++d) out[d] = std::max(out[d], first[std::size_t(row) * dim + d]);
  }
  return most;
}

}  // namespace salebench::cpu
