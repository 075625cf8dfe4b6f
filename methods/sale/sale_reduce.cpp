#include "methods/sale/sale_reduce.h"

#include <algorithm>
#include <cmath>

#include "core/fp8.h"
#include "kernels/cpu/pooling.h"
#include "kernels/cpu/sale_quantize.h"
#include "methods/sale/sale_rotation.h"

namespace salebench::sale {
namespace {

constexpr int kSampleRows = 1024;  // of Q and of K, evenly spaced, that the rotation is computed from

/// Every `step`-th row of x [rows, dim], the first included.
std::vector<float> every(const std::vector<float>& x, int dim, int step) {
  if (step == 1) return x;
  std::vector<float> out;
  for (std::size_t at = 0; at < x.size(); at += std::size_t(step) * dim)
    out.insert(out.end(), x.begin() + std::ptrdiff_t(at), x.begin() + std::ptrdiff_t(at + dim));
  return out;
}

std::vector<float> sample(const std::vector<float>& x, int dim) {
  return every(x, dim, std::max(1, int(x.size() / dim) / kSampleRows));
}

float largest(std::span<const float> x) {
  float most = 0;
  for (const float value : x) most = std::max(most, std::fabs(value));
  return most;
}

/// Rounds values to e4m3 in units of the power of two that brings `most` into [8, 16): sums of 128 products of two such
/// codes fit fp16, in which tensor cores may add them.
void round_to_fp8(std::span<float> x, float most) {
  int exponent = 0;
  std::frexp(most, &exponent);
  const float unit = std::ldexp(1.0f, exponent - 4);
  for (float& value : x) value = unit * e4m3_to_float(float_to_e4m3(value / unit));
}

}  // namespace

std::vector<float> pooled_rows(const HostProblem& p, int head, const Reduction& reduction) {
  const Shape& s = p.shape;
  return every(cpu::mean_pool(p.q_head(head), s.q_len, s.head_dim, reduction.row_pool), s.head_dim,
               reduction.row_stride);
}

ReducedHead reduce(const HostProblem& p, int head, const Reduction& reduction) {
  const Shape& s = p.shape;
  ReducedHead out;
  out.dim = reduction.channels;
  out.q = pooled_rows(p, head, reduction);
  out.k = cpu::mean_pool(p.k_of(head), s.kv_len, s.head_dim, reduction.key_pool);
  if (out.dim < s.head_dim) {
    const Rotation rotation = make_rotation(sample(out.q, s.head_dim), sample(out.k, s.head_dim), s.head_dim, out.dim);
    out.q = rotate(out.q, rotation.to_q, s.head_dim, out.dim);
    out.k = rotate(out.k, rotation.to_k, s.head_dim, out.dim);
  }
  out.rows = int(out.q.size()) / out.dim;
  out.keys = int(out.k.size()) / out.dim;
  if (reduction.format == cpu::RowFormat::int8) {
    cpu::round_rows(out.q.data(), out.rows, out.dim, cpu::RowFormat::int8);
    cpu::round_rows(out.k.data(), out.keys, out.dim, cpu::RowFormat::int8);
  } else if (reduction.format == cpu::RowFormat::fp8) {
    for (int i = 0; i < out.rows; ++i) {
      const auto row = std::span(out.q).subspan(std::size_t(i) * out.dim, out.dim);
      round_to_fp8(row, largest(row));
    }
    round_to_fp8(out.k,
                 out.dim < s.head_dim ? largest(out.k) : largest({p.k_of(head), std::size_t(s.kv_len) * s.head_dim}));
  }
  return out;
}

}  // namespace salebench::sale
