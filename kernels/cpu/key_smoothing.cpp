#include "kernels/cpu/key_smoothing.h"

#include <algorithm>

#include "kernels/cpu/row_math.h"

namespace salebench::cpu {

std::vector<float> channel_means(const float* x, int rows, int dim) {
  constexpr int kChunk = 2048;  // whatever the number of threads, so that it does not change the sums
  const int chunks = (rows + kChunk - 1) / kChunk;
  std::vector<double> sums(std::size_t(chunks) * dim);
#pragma omp parallel for
  for (int i = 0; i < chunks; ++i)
    add_rows(x + std::size_t(i) * kChunk * dim, std::min(kChunk, rows - i * kChunk), dim, &sums[std::size_t(i) * dim]);
  std::vector<float> means(dim);
  for (int d = 0; d < dim; ++d) {
    double sum = 0;
    for (int i = 0; i < chunks; ++i) sum += sums[std::size_t(i) * dim + d];
    means[d] = float(sum / rows);
  }
  return means;
}

std::vector<float> key_means(const HostProblem& p) {
  std::vector<float> means;
  for (int head = 0; head < p.shape.kv_heads; ++head) {
    const std::vector<float> of_head = channel_means(p.k_head(head), p.shape.kv_len, p.shape.head_dim);
    means.insert(means.end(), of_head.begin(), of_head.end());
  }
  return means;
}

void smooth_keys(const HostProblem& p, std::span<const float> means, std::vector<float>& smoothed) {
  smoothed.resize(p.k.size());
  const int dim = p.shape.head_dim;
  for (int head = 0; head < p.shape.kv_heads; ++head) {
    const float* const mean = &means[std::size_t(head) * dim];
    const float* const k = p.k_head(head);
    float* const out = smoothed.data() + head * p.kv_head_size();
#pragma omp parallel for
    for (int row = 0; row < p.shape.kv_len; ++row)
      for (int d = 0; d < dim; ++d) out[std::size_t(row) * dim + d] = k[std::size_t(row) * dim + d] - mean[d];
  }
}

std::vector<float> smooth_keys(const HostProblem& p) {
  std::vector<float> smoothed;
  smooth_keys(p, key_means(p), smoothed);
  return smoothed;
}

void shift_lse(const HostProblem& p, std::span<const float> means, float sign, std::span<float> lse) {
  constexpr int kChunk = 64;
  const int dim = p.shape.head_dim;
#pragma omp parallel for collapse(2)
  for (int head = 0; head < p.shape.q_heads; ++head)
    for (int begin = 0; begin < p.shape.q_len; begin += kChunk) {
      const int rows = std::min(kChunk, p.shape.q_len - begin);
      float shift[kChunk];
      row_dots(p.q_head(head) + std::size_t(begin) * dim, rows, dim,
               &means[std::size_t(p.shape.kv_head_of(head)) * dim], shift);
      for (int r = 0; r < rows; ++r) lse[std::size_t(head) * p.shape.q_len + begin + r] += sign * p.scale * shift[r];
    }
}

}  // namespace salebench::cpu
