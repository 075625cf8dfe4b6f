#include "kernels/cpu/sale_quantize.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/packed.h"

namespace salebench::cpu {
namespace {

constexpr int kKeyGroups = 4;  ///< scales in a panel: keys j with equal (j mod 8) / 2 share one
// A group of equal queries has no range; the floor keeps bias / scale within int32 for any head_dim up to 256.
constexpr float kScaleFloor = 1e-4f;

float max_abs(const float* x, const float* mean, int dim) {
  float most = 0;
  for (int d = 0; d < dim; ++d) most = std::max(most, std::fabs(x[d] - mean[d]));
  return most;
}

void encode(const float* x, const float* mean, int dim, float inverse_scale, std::int8_t* codes) {
  for (int d = 0; d < dim; ++d) codes[d] = std::int8_t(std::nearbyint((x[d] - mean[d]) * inverse_scale));
}

std::int32_t pack_quad(const std::int8_t* codes) {
  std::uint32_t word = 0;
  for (int i = 0; i < 4; ++i) word |= std::uint32_t(std::uint8_t(codes[i])) << (8 * i);
  return std::int32_t(word);
}

/// Rows i and i + 8 of each 16 share a scale.
void quantize_queries(const HostProblem& p, int head, const std::vector<float>& mean, int levels, SaleCodes& codes) {
  const int dim = p.shape.head_dim, rows = p.shape.q_len, stride = 4 * codes.quads;
  const float* q = p.q_head(head);
  float mean_size = 0;
  for (const float m : mean) mean_size = std::max(mean_size, std::fabs(m));
#pragma omp parallel for
  for (int first = 0; first < rows; first += 16) {
    for (int r = first; r < std::min(rows, first + 8); ++r) {
      const int partner = r + 8 < rows ? r + 8 : r;
      const float most = std::max(max_abs(q + std::size_t(r) * dim, mean.data(), dim),
                                  max_abs(q + std::size_t(partner) * dim, mean.data(), dim));
      const float scale = std::max(most / float(levels), kScaleFloor * mean_size);
      for (const int row : {r, partner}) {
        const std::size_t at = std::size_t(head) * rows + row;
        codes.q_scale[at] = scale;
        encode(q + std::size_t(row) * dim, mean.data(), dim, scale > 0 ? 1.0f / scale : 0.0f, &codes.q[at * stride]);
      }
    }
  }
}

void quantize_panel(const HostProblem& p, int kv_head, int panel, int levels, SaleCodes& codes) {
  const int dim = p.shape.head_dim, first = panel * kPanelKeys;
  const int keys = std::min(kPanelKeys, p.shape.kv_len - first);
  const float* k = p.k_head(kv_head) + std::size_t(first) * dim;
  const std::vector<float> no_mean(dim);
  float most[kKeyGroups] = {};
  for (int j = 0; j < keys; ++j)
    most[j % 8 / 2] = std::max(most[j % 8 / 2], max_abs(k + std::size_t(j) * dim, no_mean.data(), dim));
  const std::size_t at = std::size_t(kv_head) * codes.panels * kPanelKeys + first;
  std::vector<std::int8_t> row(4 * codes.quads);
  for (int j = 0; j < keys; ++j) {
    const float scale = most[j % 8 / 2] / float(levels);
    codes.k_scale[at + j] = scale;
    encode(k + std::size_t(j) * dim, no_mean.data(), dim, scale > 0 ? 1.0f / scale : 0.0f, row.data());
    std::int32_t sum = 0;
    for (int d = 0; d < dim; ++d) sum += row[d];
    codes.k_sum[at + j] = sum;
    for (int quad = 0; quad < codes.quads; ++quad)
      codes.k[(at / kPanelKeys * codes.quads + quad) * kPanelKeys + j] = pack_quad(&row[4 * quad]);
  }
}

}  // namespace

std::vector<float> channel_means(const float* x, int rows, int dim) {
  std::vector<double> sums(dim);
  for (int row = 0; row < rows; ++row)
    for (int d = 0; d < dim; ++d) sums[d] += x[std::size_t(row) * dim + d];
  std::vector<float> means(dim);
  for (int d = 0; d < dim; ++d) means[d] = float(sums[d] / rows);
  return means;
}

std::vector<float> smooth_keys(const HostProblem& p) {
  std::vector<float> smoothed(p.k.begin(), p.k.end());
  const int dim = p.shape.head_dim;
  for (int head = 0; head < p.shape.kv_heads; ++head) {
    const std::vector<float> mean = channel_means(p.k_head(head), p.shape.kv_len, dim);
    float* k = smoothed.data() + head * p.kv_head_size();
    for (int row = 0; row < p.shape.kv_len; ++row)
      for (int d = 0; d < dim; ++d) k[std::size_t(row) * dim + d] -= mean[d];
  }
  return smoothed;
}

SaleCodes quantize(const HostProblem& p, int levels, bool smooth_q) {
  const int dim = p.shape.head_dim;
  SaleCodes codes;
  codes.quads = round_up(dim, 4) / 4;
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
  for (int head = 0; head < p.shape.q_heads; ++head) {
    const std::vector<float> mean =
        smooth_q ? channel_means(p.q_head(head), p.shape.q_len, dim) : std::vector<float>(dim);
    quantize_queries(p, head, mean, levels, codes);
    const float* k = p.k_of(head);
    const float* scale = &codes.k_scale[p.shape.kv_head_of(head) * keys];
#pragma omp parallel for
    for (int j = 0; j < p.shape.kv_len; ++j) {
      float dot = 0;
      for (int d = 0; d < dim; ++d) dot += mean[d] * k[std::size_t(j) * dim + d];
      codes.bias[head * keys + j] = scale[j] > 0 ? dot / scale[j] : 0.0f;
    }
  }
  return codes;
}

}  // namespace salebench::cpu
