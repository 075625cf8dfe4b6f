// Online-softmax attention of one block of query rows that skips tiles by their maxima, compiled once per instruction
// set and chosen at run time. For each key block: S = Q K^T, mask, row maxima; each group of rows then either leaves
// the block or updates its maximum, P = 2^(S - max), O += P V.
#include "kernels/cpu/skip_tile.h"

#include <algorithm>
#include <cmath>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/skip_tile.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.h, as it includes this file again for each target.
#include "kernels/cpu/gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace salebench::cpu {
namespace HWY_NAMESPACE {

constexpr float kNothing = -std::numeric_limits<float>::infinity();
constexpr float kLn2 = 0.693147180559945309f;

/// What is known of the rows of a task: running maximum and sum, and the maximum in the present key block.
struct RowStates {
  float max[kMaxSkipRows], sum[kMaxSkipRows], block_max[kMaxSkipRows];
};

/// Scores of all rows against panels [first, first + panels), -inf where a row may not see; s is [rows padded, stride].
HWY_INLINE void block_scores(const SkipTask& task, int first, int panels, float* s, int stride, RowStates& rows) {
  const FloatTag d;
  const int padded = round_up(task.rows, kRowStep), begin = first * kPanelKeys, width = panels * kPanelKeys;
  for (int i = 0; i < panels; ++i)
    panel_scores(task.q, padded, task.dim, task.kv->panel(first + i, task.dim), s + i * kPanelKeys, stride);
  for (int r = 0; r < task.rows; ++r) {
    float* const row = s + std::size_t(r) * stride;
    const int seen = std::clamp(std::min(task.key_end(r), task.kv_len) - begin, 0, width);
    std::fill(row, row + std::clamp(task.key_begin(r) - begin, 0, width), kNothing);
    std::fill(row + seen, row + width, kNothing);
    FloatVec most = hn::Set(d, kNothing);
    for (int j = 0; j < width; j += int(hn::Lanes(d))) most = hn::Max(most, hn::LoadU(d, row + j));
    rows.block_max[r] = hn::GetLane(hn::MaxOfLanes(d, most));
  }
}

/// Whether any row of [begin, end) has a score within reach of its running maximum.
HWY_INLINE bool in_reach(const RowStates& rows, int begin, int end, float reach) {
  for (int r = begin; r < end; ++r) {
    if (rows.block_max[r] == kNothing) continue;
    if (rows.max[r] == kNothing || rows.block_max[r] - rows.max[r] >= reach) return true;
  }
  return false;
}

/// Turns a row's scores into 2^(score - new maximum), and scales what was summed before.
HWY_INLINE void softmax_row(RowStates& rows, int r, float* s, int width, float* sums, int stride) {
  const FloatTag d;
  const int lanes = int(hn::Lanes(d));
  const float new_max = std::max(rows.max[r], rows.block_max[r]);
  if (new_max == kNothing) return std::fill(s, s + width, 0.0f);
  if (rows.max[r] != new_max) {
    const float rescale = std::exp2(rows.max[r] - new_max);
    rows.sum[r] *= rescale;
    for (int i = 0; i < stride; i += lanes)
      hn::StoreU(hn::Mul(hn::LoadU(d, sums + i), hn::Set(d, rescale)), d, sums + i);
  }
  rows.max[r] = new_max;
  FloatVec sum = hn::Zero(d);
  for (int j = 0; j < width; j += lanes) {
    const FloatVec p = exp2_nonpositive(hn::Sub(hn::LoadU(d, s + j), hn::Set(d, new_max)));
    hn::StoreU(p, d, s + j);
    sum = hn::Add(sum, p);
  }
  rows.sum[r] += hn::GetLane(hn::SumOfLanes(d, sum));
}

HWY_INLINE void write_rows(const SkipTask& task, const RowStates& rows, const float* sums, int stride) {
  for (int r = 0; task.lse && r < task.rows; ++r) {
    task.lse[r] = rows.sum[r] > 0 ? (rows.max[r] + std::log2(rows.sum[r])) * kLn2 : kNothing;
    const float inverse = rows.sum[r] > 0 ? 1.0f / rows.sum[r] : 0.0f;
    for (int i = 0; task.output && i < task.dim; ++i)
      task.output[std::size_t(r) * task.dim + i] = sums[std::size_t(r) * stride + i] * inverse;
  }
}

void SkipTile(const SkipTask& task, SkipWorkspace& work) {
  const int padded = round_up(task.rows, kRowStep), block_panels = task.block_k / kPanelKeys;
  const int all_panels = round_up(task.kv_len, kPanelKeys) / kPanelKeys;
  const int stride = task.output ? task.kv->value_stride : 0;
  work.scores.resize(std::size_t(padded) * task.block_k);
  work.sums.assign(std::size_t(padded) * stride, 0.0f);
  work.computed.assign(work.visits.size(), false);
  RowStates rows;
  std::fill_n(rows.max, kMaxSkipRows, kNothing);
  std::fill_n(rows.sum, kMaxSkipRows, 0.0f);
  for (std::size_t i = 0; i < work.visits.size(); ++i) {
    const int first = work.visits[i] * block_panels, panels = std::min(block_panels, all_panels - first);
    block_scores(task, first, panels, work.scores.data(), task.block_k, rows);
    const bool always = i + std::size_t(task.always_last) >= work.visits.size();
    for (int begin = 0; begin < task.rows; begin += task.group_rows) {
      const int end = std::min(task.rows, begin + task.group_rows);
      if (!always && !in_reach(rows, begin, end, task.reach)) continue;
      work.computed[i] = true;
      float* const s = work.scores.data() + std::size_t(begin) * task.block_k;
      float* const sums = work.sums.data() + std::size_t(begin) * stride;
      for (int r = begin; r < end; ++r) {
        if (task.lse)
          softmax_row(rows, r, s + std::size_t(r - begin) * task.block_k, panels * kPanelKeys,
                      sums + std::size_t(r - begin) * stride, stride);
        else
          rows.max[r] = std::max(rows.max[r], rows.block_max[r]);
      }
      if (!task.output) continue;
      const float* values[kMaxSkipPanels];
      for (int panel = 0; panel < panels; ++panel) values[panel] = task.kv->value_rows(first + panel);
      gemm<true>(s, task.block_k, values, panels, kPanelKeys, stride, sums, stride, round_up(end - begin, kRowStep),
                 stride);
    }
  }
  write_rows(task, rows, work.sums.data(), stride);
}

}  // namespace HWY_NAMESPACE
}  // namespace salebench::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace salebench::cpu {
HWY_EXPORT(SkipTile);

void skip_tile(const SkipTask& task, SkipWorkspace& work) {
  HWY_DYNAMIC_DISPATCH(SkipTile)(task, work);
}

}  // namespace salebench::cpu
#endif
