// Online-softmax attention of one row tile, compiled once per instruction set and chosen at run time.
// In each chunk of up to 8 panels: S = Q K^T, mask, running maximum, P = 2^(S - max), O += P V.
#include "kernels/cpu/attention_tile.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/fp8.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_tile.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.h, as it includes this file again for each target.
#include "kernels/cpu/gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace salebench::cpu {
namespace HWY_NAMESPACE {

constexpr int kChunkPanels = 8;
constexpr int kScoreStride = kChunkPanels * kPanelKeys;
constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
constexpr float kLn2 = 0.693147180559945309f;

/// Whether any (row, key) pair of the panel is out of sight, so that its scores need masking.
HWY_INLINE bool needs_mask(const TileTask& task, int panel) {
  const RowLimits& limits = task.limits;
  const int first = panel * kPanelKeys, end = first + kPanelKeys;
  const std::uint32_t* lanes = task.visits->lanes_of(panel);
  if (std::any_of(lanes, lanes + task.visits->q_blocks, [](std::uint32_t kept) { return kept != kAllLanes; }))
    return true;
  if (end > limits.key_end(0) || first < limits.key_begin(task.rows - 1)) return true;
  return limits.window_hides(limits.windowed_rows, first);
}

/// Sets to -inf the scores of keys that a row may not see. s is [rows, 32] at kScoreStride.
HWY_INLINE void mask_panel(const TileTask& task, int panel, float* s) {
  const RowLimits& limits = task.limits;
  const int first = panel * kPanelKeys;
  const std::uint32_t* lanes = task.visits->lanes_of(panel);
  for (int r = 0; r < task.rows; ++r) {
    const std::uint32_t seen = lanes[r / task.block_rows] & limits.seen(r, first);
    if (seen == kAllLanes) continue;
    float* const row = s + r * kScoreStride;
    for (int j = 0; j < kPanelKeys; ++j) row[j] = seen >> j & 1u ? row[j] : kMinusInfinity;
  }
}

/// Turns a row of scores into 2^(s - new maximum) and returns their sum; *row_max becomes the new maximum and *rescale
/// the factor for what was summed before.
HWY_INLINE float softmax_row(float* s, int keys, float* row_max, float* rescale) {
  const FloatTag d;
  const int lanes = int(hn::Lanes(d));
  FloatVec most = hn::Set(d, kMinusInfinity);
  for (int j = 0; j < keys; j += lanes) most = hn::Max(most, hn::LoadU(d, s + j));
  const float new_max = std::max(*row_max, hn::GetLane(hn::MaxOfLanes(d, most)));
  if (new_max == kMinusInfinity) {  // nothing seen yet: keep -inf - -inf out of the exponent
    std::fill(s, s + keys, 0.0f);
    *rescale = 1.0f;
    return 0.0f;
  }
  *rescale = *row_max == new_max ? 1.0f : std::exp2(*row_max - new_max);
  *row_max = new_max;
  const FloatVec shift = hn::Set(d, new_max);
  FloatVec sum = hn::Zero(d);
  for (int j = 0; j < keys; j += lanes) {
    const FloatVec p = exp2_nonpositive(hn::Sub(hn::LoadU(d, s + j), shift));
    hn::StoreU(p, d, s + j);
    sum = hn::Add(sum, p);
  }
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

/// Rounds 448 times each weight to e4m3, to nearest even, and divides again.
HWY_INLINE void round_weights(float* p, int keys) {
  const FloatTag d;
  const hn::RebindToUnsigned<FloatTag> bits;
  const FloatVec up = hn::Set(d, kMaxE4m3), down = hn::Set(d, 1 / kMaxE4m3), normal = hn::Set(d, 0x1p-6f);
  const auto exponent = hn::Set(bits, 0x7f800000u);
  for (int j = 0; j < keys; j += int(hn::Lanes(d))) {
    const FloatVec x = hn::Mul(hn::LoadU(d, p + j), up);
    // The unit in the last place is 2^-3 of the power of 2 below, 2^-9 for subnormals; adding 2^23 units rounds to it.
    const FloatVec power = hn::BitCast(d, hn::And(hn::BitCast(bits, hn::Max(x, normal)), exponent));
    const FloatVec units = hn::Mul(power, hn::Set(d, 0x1p20f));
    hn::StoreU(hn::Mul(hn::Sub(hn::Add(x, units), units), down), d, p + j);
  }
}

HWY_INLINE void scale_row(float* row, int size, float factor) {
  const FloatTag d;
  const FloatVec by = hn::Set(d, factor);
  for (int i = 0; i < size; i += int(hn::Lanes(d))) hn::StoreU(hn::Mul(hn::LoadU(d, row + i), by), d, row + i);
}

void AttendTile(const TileTask& task, TileWorkspace& work) {
  const int padded = round_up(task.rows, kRowStep);
  const int stride = task.output ? task.kv->value_stride : 0;
  work.scores.resize(std::size_t(padded) * kScoreStride);
  work.sums.assign(std::size_t(padded) * stride, 0.0f);
  float* const s = work.scores.data();
  float row_max[kRowTile], row_sum[kRowTile];
  std::fill_n(row_max, kRowTile, kMinusInfinity);
  std::fill_n(row_sum, kRowTile, 0.0f);
  const std::vector<int>& panels = task.visits->panels;
  for (std::size_t at = 0; at < panels.size(); at += kChunkPanels) {
    const int count = int(std::min<std::size_t>(kChunkPanels, panels.size() - at));
    const float* values[kChunkPanels];
    for (int i = 0; i < count; ++i) {
      const int panel = panels[at + i];
      panel_scores(task.q, padded, task.dim, task.kv->panel(panel, task.dim), s + i * kPanelKeys, kScoreStride);
      if (needs_mask(task, panel)) mask_panel(task, panel, s + i * kPanelKeys);
      if (task.output) values[i] = task.kv->value_rows(panel);
    }
    for (int r = 0; r < task.rows; ++r) {
      float rescale = 1.0f;
      const float sum = softmax_row(s + r * kScoreStride, count * kPanelKeys, &row_max[r], &rescale);
      row_sum[r] = row_sum[r] * rescale + sum;
      if (task.e4m3_weights) round_weights(s + r * kScoreStride, count * kPanelKeys);
      if (rescale != 1.0f) scale_row(work.sums.data() + std::size_t(r) * stride, stride, rescale);
    }
    if (task.output)
      gemm<true>(s, kScoreStride, values, count, kPanelKeys, stride, work.sums.data(), stride, padded, stride);
  }
  for (int r = 0; r < task.rows; ++r) {
    task.lse[r] = row_sum[r] > 0 ? (row_max[r] + std::log2(row_sum[r])) * kLn2 : kMinusInfinity;
    if (!task.output) continue;
    const float inverse = row_sum[r] > 0 ? 1.0f / row_sum[r] : 0.0f;
    for (int i = 0; i < task.dim; ++i)
      task.output[std::size_t(r) * task.dim + i] = work.sums[std::size_t(r) * stride + i] * inverse;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace salebench::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace salebench::cpu {
HWY_EXPORT(AttendTile);

void attend_tile(const TileTask& task, TileWorkspace& work) {
  HWY_DYNAMIC_DISPATCH(AttendTile)(task, work);
}

}  // namespace salebench::cpu
#endif
