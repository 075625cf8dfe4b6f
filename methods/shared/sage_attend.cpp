#include "methods/shared/sage_attend.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/key_smoothing.h"

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

}  // namespace

void sage_attend(const HostProblem& problem, const ConstMaskView* mask, AttentionView out) {
  const Shape& s = problem.shape;
  const std::vector<float> means = cpu::key_means(problem);
  std::vector<float> q(problem.q.begin(), problem.q.end()), k;
  cpu::smooth_keys(problem, means, k);
  for (int h = 0; h < s.q_heads; ++h) round_to_int8(&q[h * problem.q_head_size()], s.q_len, s.head_dim, kQueryRows);
  for (int h = 0; h < s.kv_heads; ++h) round_to_int8(&k[h * problem.kv_head_size()], s.kv_len, s.head_dim, kKeys);
  HostProblem rounded = problem;
  rounded.q = q;
  rounded.k = k;
  if (mask)
    cpu::block_sparse_attention(rounded, *mask, out);
  else
    cpu::dense_attention(rounded, out);
  cpu::shift_lse(problem, means, 1, out.lse);
}

}  // namespace salebench
