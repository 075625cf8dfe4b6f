#include "methods/sale/sale_reduce.h"

#include <algorithm>

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

void round_to(std::optional<cpu::RowFormat> format, std::vector<float>& x, int dim) {
  if (!format) return;
  cpu::round_rows(x.data(), int(x.size()) / dim, dim, *format);
}

}  // namespace

ReducedHead reduce(const HostProblem& p, int head, const Reduction& reduction) {
  const Shape& s = p.shape;
  ReducedHead out;
  out.dim = reduction.channels;
  out.q =
      every(cpu::mean_pool(p.q_head(head), s.q_len, s.head_dim, reduction.row_pool), s.head_dim, reduction.row_stride);
  out.k = cpu::mean_pool(p.k_of(head), s.kv_len, s.head_dim, reduction.key_pool);
  if (out.dim < s.head_dim) {
    const Rotation rotation = make_rotation(sample(out.q, s.head_dim), sample(out.k, s.head_dim), s.head_dim, out.dim);
    out.q = rotate(out.q, rotation.to_q, s.head_dim, out.dim);
    out.k = rotate(out.k, rotation.to_k, s.head_dim, out.dim);
  }
  round_to(reduction.format, out.q, out.dim);
  round_to(reduction.format, out.k, out.dim);
  out.rows = int(out.q.size()) / out.dim;
  out.keys = int(out.k.size()) / out.dim;
  return out;
}

std::vector<float> reduce_rows(std::span<const float> x, const Reduction& reduction) {
  return every(cpu::mean_pool(x.data(), int(x.size()), 1, reduction.row_pool), 1, reduction.row_stride);
}

}  // namespace salebench::sale
