#include "kernels/cpu/sale_quantize.h"

#include <algorithm>
#include <cmath>

#include "core/fp8.h"
#include "kernels/cpu/key_smoothing.h"
#include "kernels/cpu/packed.h"
#include "kernels/cpu/row_math.h"

namespace salebench::cpu {
namespace {

// A group of equal queries has no range; the floor keeps bias / scale within int32 for any head_dim up to 256.
constexpr float kScaleFloor = 1e-4f;

std::int32_t pack_quad(const std::int8_t* codes) {
  std::uint32_t word = 0;
  for (int i = 0; i < 4; ++i) word |= std::uint32_t(std::uint8_t(codes[i])) << (8 * i);
  return std::int32_t(word);
}

void quantize_queries(const HostProblem& p, int head, const std::vector<float>& mean, int levels, SaleCodes& codes) {
  const int dim = p.shape.head_dim, rows = p.shape.q_len, stride = 4 * codes.quads;
  const float* q = p.q_head(head);
  const bool by_thread = codes.groups == ScaleGroups::thread;
  const float floor =
      by_thread ? kScaleFloor * largest_difference(mean.data(), std::vector<float>(dim).data(), dim) : 0;
#pragma omp parallel for
  for (int begin = 0; begin < rows; begin += 16) {
    const int count = std::min(16, rows - begin);
    float most[16];
    for (int r = 0; r < count; ++r) most[r] = largest_difference(q + std::size_t(begin + r) * dim, mean.data(), dim);
    for (int r = 0; r < count; ++r) {
      const int partner = by_thread && (r ^ 8) < count ? r ^ 8 : r;
      const float scale = std::max(std::max(most[r], most[partner]) / float(levels), floor);
      const std::size_t at = std::size_t(head) * rows + begin + r;
      codes.q_scale[at] = scale;
      std::int8_t* const out = &codes.q[at * stride];
      encode_row(q + std::size_t(begin + r) * dim, mean.data(), dim, scale > 0 ? 1.0f / scale : 0.0f, out);
      std::fill(out + dim, out + stride, std::int8_t(0));
    }
  }
}

void quantize_panel(const HostProblem& p, int kv_head, int panel, int levels, SaleCodes& codes) {
  const int dim = p.shape.head_dim, first = panel * kPanelKeys;
  const int keys = std::min(kPanelKeys, p.shape.kv_len - first);
  const float* k = p.k_head(kv_head) + std::size_t(first) * dim;
  const std::vector<float> no_mean(dim);
  const auto group_of = [&](int j) { return codes.groups == ScaleGroups::thread ? j % 8 / 2 : j; };
  float most[kPanelKeys] = {};
  for (int j = 0; j < keys; ++j)
    most[group_of(j)] = std::max(most[group_of(j)], largest_difference(k + std::size_t(j) * dim, no_mean.data(), dim));
  const std::size_t at = std::size_t(kv_head) * codes.panels * kPanelKeys + first;
  std::vector<std::int8_t> row(4 * codes.quads);
  for (int j = 0; j < kPanelKeys; ++j) {
    const float scale = j < keys ? most[group_of(j)] / float(levels) : 0.0f;
    codes.k_scale[at + j] = scale;
    if (j >= keys) std::ranges::fill(row, std::int8_t(0));
    if (j < keys)
      encode_row(k + std::size_t(j) * dim, no_mean.data(), dim, scale > 0 ? 1.0f / scale : 0.0f, row.data());
    std::int32_t sum = 0;
    for (int d = 0; d < dim; ++d) sum += row[d];
    codes.k_sum[at + j] = sum;
    for (int quad = 0; quad < codes.quads; ++quad)
      codes.k[(at / kPanelKeys * codes.quads + quad) * kPanelKeys + j] = pack_quad(&row[4 * quad]);
  }
}

/// out [q_heads, whole panels of keys]: mean of the head . k_j, and 0 beyond kv_len.
void mean_logits(const HostProblem& p, const std::vector<std::vector<float>>& means, float* out) {
  constexpr int kChunk = 512;  // keys, which stay in a cache while the heads pass by
  const int dim = p.shape.head_dim, keys = round_up(p.shape.kv_len, kPanelKeys);
#pragma omp parallel for
  for (int begin = 0; begin < p.shape.kv_len; begin += kChunk)
    for (int head = 0; head < p.shape.q_heads; ++head)
      row_dots(p.k_of(head) + std::size_t(begin) * dim, std::min(kChunk, p.shape.kv_len - begin), dim,
               means[head].data(), out + std::size_t(head) * keys + begin);
  for (int head = 0; head < p.shape.q_heads; ++head)
    std::fill(out + std::size_t(head) * keys + p.shape.kv_len, out + std::size_t(head + 1) * keys, 0.0f);
}

/// The mean query of each head; zeros unless smooth_q.
std::vector<std::vector<float>> query_means(const HostProblem& p, bool smooth_q) {
  const int dim = p.shape.head_dim;
  std::vector<std::vector<float>> means(p.shape.q_heads, std::vector<float>(dim));
  for (int head = 0; head < p.shape.q_heads; ++head)
    if (smooth_q) means[head] = channel_means(p.q_head(head), p.shape.q_len, dim);
  return means;
}

}  // namespace

void quantize(const HostProblem& p, int levels, bool smooth_q, ScaleGroups groups, SaleCodes& codes) {
  codes.groups = groups;
  codes.quads = round_up(p.shape.head_dim, 4) / 4;
  codes.panels = round_up(p.shape.kv_len, kPanelKeys) / kPanelKeys;
  const std::size_t keys = std::size_t(codes.panels) * kPanelKeys;
  codes.q.resize(std::size_t(p.shape.q_heads) * p.shape.q_len * 4 * codes.quads);
  codes.q_scale.resize(std::size_t(p.shape.q_heads) * p.shape.q_len);
  codes.k.resize(p.shape.kv_heads * keys * codes.quads);
  codes.k_scale.resize(p.shape.kv_heads * keys);
  codes.k_sum.resize(p.shape.kv_heads * keys);
  codes.bias.resize(p.shape.q_heads * keys);
#pragma omp parallel for collapse(2)
  for (int head = 0; head < p.shape.kv_heads; ++head)
    for (int panel = 0; panel < codes.panels; ++panel) quantize_panel(p, head, panel, levels, codes);
  const auto means = query_means(p, smooth_q);
  for (int head = 0; head < p.shape.q_heads; ++head) quantize_queries(p, head, means[head], levels, codes);
  mean_logits(p, means, codes.bias.data());
  if (groups == ScaleGroups::token) return;
#pragma omp parallel for
  for (int head = 0; head < p.shape.q_heads; ++head) {
    const float* const scale = &codes.k_scale[p.shape.kv_head_of(head) * keys];
    float* const bias = &codes.bias[head * keys];
    for (int j = 0; j < p.shape.kv_len; ++j) bias[j] = scale[j] > 0 ? bias[j] / scale[j] : 0.0f;
  }
}

Fp8Operands quantize_fp8(const HostProblem& p, bool smooth_q) {
  const int dim = p.shape.head_dim;
  const std::size_t keys = round_up(p.shape.kv_len, kPanelKeys);
  Fp8Operands rounded{{p.q.begin(), p.q.end()}, {p.k.begin(), p.k.end()}, std::vector<float>(p.shape.q_heads * keys)};
  round_rows(rounded.k.data(), p.shape.kv_heads * p.shape.kv_len, dim, RowFormat::fp8);
  const auto means = query_means(p, smooth_q);
  for (int head = 0; head < p.shape.q_heads; ++head) {
    const std::vector<float>& mean = means[head];
    float* const q = &rounded.q[head * p.q_head_size()];
    for (std::size_t i = 0; i < p.q_head_size(); ++i) q[i] -= mean[i % dim];
    round_rows(q, p.shape.q_len, dim, RowFormat::fp8);
  }
  mean_logits(p, means, rounded.bias.data());
  return rounded;
}

void round_rows(float* x, int rows, int dim, RowFormat format) {
  const float levels = format == RowFormat::int8 ? 127.0f : kMaxE4m3;
  const std::vector<float> no_mean(dim);
#pragma omp parallel for
  for (int r = 0; r < rows; ++r) {
    float* const row = x + std::size_t(r) * dim;
    const float scale = largest_difference(row, no_mean.data(), dim) / levels;
    if (scale == 0) continue;
    const float inverse = 1.0f / scale;
    for (int d = 0; d < dim; ++d) {
      const float code = row[d] * inverse;
      row[d] = scale * (format == RowFormat::int8 ? std::nearbyint(code) : e4m3_to_float(float_to_e4m3(code)));
    }
  }
}

}  // namespace salebench::cpu
