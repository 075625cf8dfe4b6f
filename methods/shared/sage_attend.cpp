#include "methods/shared/sage_attend.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/sale_quantize.h"

namespace salebench {
namespace {

constexpr int kQueryRows = 64, kKeys = 32;  // that share a scale

/// Rounds x [rows, dim] to int8 and back, with one scale for each `group` rows.
void round_to_int8(float* x, int rows, int dim, int group) {
#pragma omp parallel for
  for (int first = 0; first < rows; first += group) {
    const std::span<float> values(x + std::size_t(first) * dim, std::size_t(std::min(group, rows - first)) * dim);
    float most = 0;
    for (const float v : values) most = std::max(most, std::fabs(v));
    if (most == 0) continue;
    const float scale = most / 127.0f, inverse = 127.0f / most;
    for (float& v : values) v = scale * std::nearbyint(v * inverse);
  }
}

/// Adds scale * q_i . (mean of K) to the log-sum-exp of each row: what taking the mean out of K took from its logits.
void restore_mean(const HostProblem& p, std::span<float> lse) {
  const int dim = p.shape.head_dim;
  for (int head = 0; head < p.shape.q_heads; ++head) {
    const std::vector<float> mean = cpu::channel_means(p.k_of(head), p.shape.kv_len, dim);
    for (int row = 0; row < p.shape.q_len; ++row) {
      float dot = 0;
      for (int d = 0; d < dim; ++d) dot += p.q_head(head)[std::size_t(row) * dim + d] * mean[d];
      lse[std::size_t(head) * p.shape.q_len + row] += p.scale * dot;
    }
  }
}

}  // namespace

void sage_attend(const HostProblem& problem, const ConstMaskView* mask, AttentionView out) {
  const Shape& s = problem.shape;
  std::vector<float> q(problem.q.begin(), problem.q.end()), k = cpu::smooth_keys(problem);
  for (int h = 0; h < s.q_heads; ++h) round_to_int8(&q[h * problem.q_head_size()], s.q_len, s.head_dim, kQueryRows);
  for (int h = 0; h < s.kv_heads; ++h) round_to_int8(&k[h * problem.kv_head_size()], s.kv_len, s.head_dim, kKeys);
  HostProblem rounded = problem;
  rounded.q = q;
  rounded.k = k;
  if (mask)
    cpu::block_sparse_attention(rounded, *mask, out);
  else
    cpu::dense_attention(rounded, out);
  restore_mean(problem, out.lse);
}

}  // namespace salebench
