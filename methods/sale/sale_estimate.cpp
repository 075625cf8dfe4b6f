#include "methods/sale/sale_estimate.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "core/fp8.h"
#include "kernels/cpu/key_smoothing.h"
#include "methods/shared/logits.h"

namespace salebench::sale {
namespace {

/// The codes of a number format: its largest value, and how a value is rounded to it.
struct Format {
  float largest;
  float (*round)(float);
};

Format format_of(Codes codes) {
  if (codes == Codes::fp8) return {kMaxE4m3, [](float x) { return e4m3_to_float(float_to_e4m3(x)); }};
  return {codes == Codes::int4 ? 7.0f : 127.0f, [](float x) { return std::nearbyint(x); }};
}

/// x [rows, dim] minus mean, in units of the largest value of each group of rows. A group's number is at most that of
/// its first row.
PlainCodes encode(const float* x, const std::vector<float>& mean, int rows, const Format& format, float scale_floor,
                  const std::function<int(int)>& group_of) {
  const int dim = int(mean.size());
  PlainCodes codes{std::vector<float>(std::size_t(rows) * dim), std::vector<float>(rows)};
  std::vector<float> most(rows);  // of each group
  for (int i = 0; i < rows; ++i)
    for (int d = 0; d < dim; ++d)
      most[group_of(i)] = std::max(most[group_of(i)], std::fabs(x[std::size_t(i) * dim + d] - mean[d]));
  for (int i = 0; i < rows; ++i) {
    codes.scale[i] = std::max(most[group_of(i)] / format.largest, scale_floor);
    for (int d = 0; d < dim && codes.scale[i] > 0; ++d)
      codes.code[std::size_t(i) * dim + d] =
          format.round((x[std::size_t(i) * dim + d] - mean[d]) * (1 / codes.scale[i]));
  }
  return codes;
}

}  // namespace

Estimate::Estimate(const HostProblem& p, int head, Codes codes, cpu::ScaleGroups groups, bool smooth_q)
    : q_(p.q_head(head)),
      k_(p.k_of(head)),
      dim_(p.shape.head_dim),
      exact_(codes == Codes::exact),
      by_thread_(groups == cpu::ScaleGroups::thread && codes != Codes::fp8),
      bias_(p.shape.kv_len) {
  if (exact_) return;
  const Format format = format_of(codes);
  const std::vector<float> q_mean = smooth_q ? cpu::channel_means(q_, p.shape.q_len, dim_) : std::vector<float>(dim_);
  const std::vector<float> no_mean(dim_);
  if (by_thread_) {
    float floor = 0;  // of the scale of rows that all equal the mean
    for (const float m : q_mean) floor = std::max(floor, 1e-4f * std::fabs(m));
    q_codes_ = encode(q_, q_mean, p.shape.q_len, format, floor, [](int i) { return i / 16 * 8 + i % 8; });
    k_codes_ = encode(k_, no_mean, p.shape.kv_len, format, 0, [](int j) { return j / 32 * 4 + j % 8 / 2; });
  } else {
    q_codes_ = encode(q_, q_mean, p.shape.q_len, format, 0, std::identity());
    k_codes_ = encode(k_, no_mean, p.shape.kv_len, format, 0, std::identity());
  }
  for (int j = 0; j < p.shape.kv_len; ++j) bias_[j] = dot<float>(q_mean.data(), k_ + std::size_t(j) * dim_, dim_);
}

double Estimate::operator()(int i, int j) const {
  const float* const q = exact_ ? q_ : q_codes_.code.data();
  const float* const k = exact_ ? k_ : k_codes_.code.data();
  const double product = dot(q + std::size_t(i) * dim_, k + std::size_t(j) * dim_, dim_);
  if (exact_) return product;
  const float q_scale = q_codes_.scale[i], k_scale = k_codes_.scale[j];
  if (!by_thread_) return double(q_scale) * k_scale * product + bias_[j];
  if (q_scale == 0 || k_scale == 0) return 0;
  // The bias is rounded to whole units of both scales, so that it fits the integer sum.
  return double(q_scale) * k_scale * (product + std::nearbyint(bias_[j] / k_scale * (1 / q_scale)));
}

}  // namespace salebench::sale
