#include "kernels/cpu/softmax_tile.h"

#include <algorithm>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/softmax_tile.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.h, as it includes this file again for each target.
#include "kernels/cpu/gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace salebench::cpu {
namespace HWY_NAMESPACE {

// Depth that is multiplied at a time: this much of a panel stays in the first-level cache while all rows use it.
constexpr int kDepthStep = 128;

void deep_scores(const ScoreTask& task, int panel, float* out, std::size_t stride) {
  const int rows = round_up(task.rows, kRowStep);
  for (int d = 0; d < task.dim; d += kDepthStep) {
    const float* keys = task.kv->panel(panel, task.dim) + std::size_t(d) * kPanelKeys;
    const int depth = std::min(kDepthStep, task.dim - d);
    if (d == 0)
      gemm<false>(task.q, task.dim, &keys, 1, depth, kPanelKeys, out, int(stride), rows, kPanelKeys);
    else
      gemm<true>(task.q + d, task.dim, &keys, 1, depth, kPanelKeys, out, int(stride), rows, kPanelKeys);
  }
}

/// Softmax in base 2 of row[0, count), count a multiple of kPanelKeys; at least one value is finite.
void softmax_row(float* row, int count) {
  const FloatTag d;
  const int lanes = int(hn::Lanes(d));
  FloatVec most = hn::LoadU(d, row);
  for (int j = lanes; j < count; j += lanes) most = hn::Max(most, hn::LoadU(d, row + j));
  const FloatVec shift = hn::MaxOfLanes(d, most);
  FloatVec sum = hn::Zero(d);
  for (int j = 0; j < count; j += lanes) {
    const FloatVec weight = exp2_nonpositive(hn::Sub(hn::LoadU(d, row + j), shift));
    sum = hn::Add(sum, weight);
    hn::StoreU(weight, d, row + j);
  }
  const FloatVec factor = hn::Div(hn::Set(d, 1.0f), hn::SumOfLanes(d, sum));
  for (int j = 0; j < count; j += lanes) hn::StoreU(hn::Mul(hn::LoadU(d, row + j), factor), d, row + j);
}

void SoftmaxTile(const ScoreTask& task, int key_end, float* out, std::size_t stride) {
  const int padded = round_up(key_end, kPanelKeys);
  for (int panel = 0; panel * kPanelKeys < key_end; ++panel)
    deep_scores(task, panel, out + std::size_t(panel) * kPanelKeys, stride);
  for (int r = 0; r < task.rows; ++r) {
    float* const row = out + r * stride;
    const int seen = std::clamp(task.limits.key_end(r), 0, std::min(key_end, task.limits.kv_len));
    std::fill(row + seen, row + padded, seen > 0 ? -std::numeric_limits<float>::infinity() : 0.0f);
    if (seen > 0) softmax_row(row, padded);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace salebench::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace salebench::cpu {
HWY_EXPORT(SoftmaxTile);

void softmax_tile(const ScoreTask& task, int key_end, float* out, std::size_t stride) {
  HWY_DYNAMIC_DISPATCH(SoftmaxTile)(task, key_end, out, stride);
}

}  // namespace salebench::cpu
#endif
