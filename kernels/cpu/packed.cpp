#include "kernels/cpu/packed.h"

#include <algorithm>

namespace salebench::cpu {

std::vector<PackedHead> pack_heads(const HostProblem& p, bool with_values) {
  const int dim = p.shape.head_dim, panels = round_up(p.shape.kv_len, kPanelKeys) / kPanelKeys;
  std::vector<PackedHead> packed(p.shape.kv_heads);
  for (PackedHead& head : packed) {
    head.value_stride = round_up(dim, kLaneFloats);
    head.keys.resize(std::size_t(panels) * dim * kPanelKeys);
    if (with_values) head.values.resize(std::size_t(panels) * kPanelKeys * head.value_stride);
  }
#pragma omp parallel for collapse(2)
  for (int h = 0; h < p.shape.kv_heads; ++h) {
    for (int panel = 0; panel < panels; ++panel) {
      PackedHead& head = packed[h];
      const int keys = std::min(kPanelKeys, p.shape.kv_len - panel * kPanelKeys);
      const std::size_t first = std::size_t(panel) * kPanelKeys;
      float* const out = &head.keys[first * dim];
      for (int j = 0; j < keys; ++j) {
        const float* key = p.k_head(h) + (first + j) * dim;
        for (int d = 0; d < dim; ++d) out[d * kPanelKeys + j] = key[d];
        if (with_values) {
          const float* value = p.v_head(h) + (first + j) * dim;
          std::copy(value, value + dim, &head.values[(first + j) * head.value_stride]);
        }
      }
    }
  }
  return packed;
}

void pack_queries(const HostProblem& p, int head, int begin, int end, float factor, std::vector<float>& out) {
  const int dim = p.shape.head_dim;
  out.assign(std::size_t(round_up(end - begin, kRowStep)) * dim, 0.0f);
  const float* q = p.q_head(head) + std::size_t(begin) * dim;
  for (std::size_t i = 0; i < std::size_t(end - begin) * dim; ++i) out[i] = q[i] * factor;
}

}  // namespace salebench::cpu
