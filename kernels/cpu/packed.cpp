#include "kernels/cpu/packed.h"

#include <algorithm>

namespace salebench::cpu {

namespace {

/// Transposes keys [count, dim] into a panel [dim, 32].
void pack_panel(const float* keys, int count, int dim, float* out) {
  for (int j = 0; j < count; ++j)
    for (int d = 0; d < dim; ++d) out[d * kPanelKeys + j] = keys[std::size_t(j) * dim + d];
  for (int d = 0; d < dim; ++d) std::fill(out + d * kPanelKeys + count, out + (d + 1) * kPanelKeys, 0.0f);
}

/// Pads values [count, dim] to 32 rows of `stride`.
void pack_values(const float* values, int count, int dim, int stride, float* out) {
  for (int j = 0; j < count; ++j) {
    float* const row = out + std::size_t(j) * stride;
    std::fill(std::copy_n(values + std::size_t(j) * dim, dim, row), row + stride, 0.0f);
  }
  std::fill(out + std::size_t(count) * stride, out + std::size_t(kPanelKeys) * stride, 0.0f);
}

}  // namespace

void pack_heads(const HostProblem& p, bool with_values, std::vector<PackedHead>& packed) {
  const int dim = p.shape.head_dim, panels = round_up(p.shape.kv_len, kPanelKeys) / kPanelKeys;
  const std::size_t keys = std::size_t(panels) * kPanelKeys;
  packed.resize(p.shape.kv_heads);
  for (PackedHead& head : packed) {
    head.value_stride = round_up(dim, kLaneFloats);
    head.keys.reserve(keys * dim * sizeof(float));
    if (with_values) head.values.reserve(keys * head.value_stride * sizeof(float));
  }
#pragma omp parallel for collapse(2)
  for (int h = 0; h < p.shape.kv_heads; ++h) {
    for (int panel = 0; panel < panels; ++panel) {
      const PackedHead& head = packed[h];
      const std::size_t first = std::size_t(panel) * kPanelKeys;
      const int count = std::min(kPanelKeys, p.shape.kv_len - int(first)), stride = head.value_stride;
      pack_panel(p.k_head(h) + first * dim, count, dim, head.keys.floats() + first * dim);
      if (with_values)
        pack_values(p.v_head(h) + first * dim, count, dim, stride, head.values.floats() + first * stride);
    }
  }
}

std::vector<PackedHead> pack_heads(const HostProblem& p, bool with_values) {
  std::vector<PackedHead> packed;
  pack_heads(p, with_values, packed);
  return packed;
}

void pack_queries(const HostProblem& p, int head, int begin, int end, float factor, std::vector<float>& out) {
  const int dim = p.shape.head_dim;
  out.assign(std::size_t(round_up(end - begin, kRowStep)) * dim, 0.0f);
  const float* q = p.q_head(head) + std::size_t(begin) * dim;
  for (std::size_t i = 0; i < std::size_t(end - begin) * dim; ++i) out[i] = q[i] * factor;
}

}  // namespace salebench::cpu
