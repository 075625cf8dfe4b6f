#include "kernels/cpu/low_bit_attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/fp8.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/key_smoothing.h"

namespace salebench::cpu {
namespace {

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

/// V [kv_len, dim] of a head less its means, rounded to e4m3 and back with one scale a channel.
void round_values(float* v, const float* means, int kv_len, int dim) {
  std::vector<float> scales(dim);
  for (int key = 0; key < kv_len; ++key)
    for (int d = 0; d < dim; ++d) {
      float& x = v[std::size_t(key) * dim + d];
      x -= means[d];
      scales[d] = std::max(scales[d], std::fabs(x) / kMaxE4m3);
    }
#pragma omp parallel for
  for (int key = 0; key < kv_len; ++key)
    for (int d = 0; d < dim; ++d) {
      float& x = v[std::size_t(key) * dim + d];
      if (scales[d] > 0) x = scales[d] * e4m3_to_float(float_to_e4m3(x / scales[d]));
    }
}

/// Adds the means of V to the output of each row that saw a key.
void add_means(const HostProblem& p, const std::vector<float>& means, AttentionView out) {
  const int dim = p.shape.head_dim;
  for (int head = 0; head < p.shape.q_heads; ++head) {
    const float* const mean = &means[std::size_t(p.shape.kv_head_of(head)) * dim];
#pragma omp parallel for
    for (int row = 0; row < p.shape.q_len; ++row) {
      const std::size_t at = std::size_t(head) * p.shape.q_len + row;
      if (std::isinf(out.lse[at])) continue;
      for (int d = 0; d < dim; ++d) out.output[at * dim + d] += mean[d];
    }
  }
}

}  // namespace

void rotate_rows(float* x, int rows, int dim) {
  const int block = dim & -dim;
  const float factor = 1 / std::sqrt(float(block));
#pragma omp parallel for
  for (int row = 0; row < rows; ++row) {
    float* const values = x + std::size_t(row) * dim;
    for (int step = 1; step < block; step *= 2)
      for (int i = 0; i < dim; ++i) {
        if (i & step) continue;
        const float a = values[i], b = values[i + step];
        values[i] = a + b, values[i + step] = a - b;
      }
    for (int i = 0; i < dim; ++i) values[i] *= factor;
  }
}

void low_bit_attention(const HostProblem& problem, const ConstMaskView* mask, const LowBitFormat& format,
                       AttentionView out) {
  const Shape& s = problem.shape;
  const std::vector<float> key_mean = key_means(problem);
  std::vector<float> q(problem.q.begin(), problem.q.end()), k, v, value_mean;
  smooth_keys(problem, key_mean, k);
  const auto round = [&](float* x, int rows, int group) {
    if (format.rotate) rotate_rows(x, rows, s.head_dim);
    round_to_int8(x, rows, s.head_dim, group);
  };
  for (int h = 0; h < s.q_heads; ++h) round(&q[h * problem.q_head_size()], s.q_len, format.query_rows);
  for (int h = 0; h < s.kv_heads; ++h) round(&k[h * problem.kv_head_size()], s.kv_len, format.keys);
  HostProblem rounded = problem;
  rounded.q = q;
  rounded.k = k;
  const bool values_too = format.e4m3_values && !out.output.empty();
  if (values_too) {
    v.assign(problem.v.begin(), problem.v.end());
    for (int h = 0; h < s.kv_heads; ++h) {
      const std::vector<float> mean = channel_means(problem.v_head(h), s.kv_len, s.head_dim);
      round_values(&v[h * problem.kv_head_size()], mean.data(), s.kv_len, s.head_dim);
      value_mean.insert(value_mean.end(), mean.begin(), mean.end());
    }
    rounded.v = v;
  }
  const Weights weights = values_too ? Weights::e4m3 : Weights::exact;
  if (mask)
    block_sparse_attention(rounded, *mask, out, Workspace::of_thread(), weights);
  else
    dense_attention(rounded, out, Workspace::of_thread(), weights);
  if (values_too) add_means(problem, value_mean, out);
  shift_lse(problem, key_mean, 1, out.lse);
}

}  // namespace salebench::cpu
