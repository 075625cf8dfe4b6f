#include "kernels/cpu/row_scores.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/row_scores.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.h, as it includes this file again for each target.
#include "kernels/cpu/gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace salebench::cpu {
namespace HWY_NAMESPACE {

void ScorePanels(const float* q, int rows, int dim, const PackedHead& keys, int begin, int end, float* scores) {
  const int stride = (end - begin) * kPanelKeys;
  for (int panel = begin; panel < end; ++panel)
    panel_scores(q, round_up(rows, kRowStep), dim, keys.panel(panel, dim), scores + (panel - begin) * kPanelKeys,
                 stride);
}

void RaiseRowMax(const ScoreTask& task, int begin, int end, float* row_max) {
  const FloatTag d;
  const int lanes = int(hn::Lanes(d));
  float s[kRowTile * kPanelKeys];
  for (int panel = begin / kPanelKeys; panel * kPanelKeys < end; ++panel) {
    panel_scores(task.q, round_up(task.rows, kRowStep), task.dim, task.kv->panel(panel, task.dim), s, kPanelKeys);
    const int first = panel * kPanelKeys, low = std::max(begin - first, 0);
    for (int r = 0; r < task.rows; ++r) {
      const float* const row = s + r * kPanelKeys;
      const int high = std::min({task.limits.key_end(r), task.limits.kv_len, end}) - first;
      if (low == 0 && high >= kPanelKeys) {
        FloatVec most = hn::LoadU(d, row);
        for (int j = lanes; j < kPanelKeys; j += lanes) most = hn::Max(most, hn::LoadU(d, row + j));
        row_max[r] = std::max(row_max[r], hn::GetLane(hn::MaxOfLanes(d, most)));
      } else {
        for (int j = low; j < std::min(high, kPanelKeys); ++j) row_max[r] = std::max(row_max[r], row[j]);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace salebench::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace salebench::cpu {
HWY_EXPORT(ScorePanels);
HWY_EXPORT(RaiseRowMax);

void score_panels(const float* q, int rows, int dim, const PackedHead& keys, int begin, int end, float* scores) {
  HWY_DYNAMIC_DISPATCH(ScorePanels)(q, rows, dim, keys, begin, end, scores);
}
void raise_row_max(const ScoreTask& task, int begin, int end, float* row_max) {
  HWY_DYNAMIC_DISPATCH(RaiseRowMax)(task, begin, end, row_max);
}

}  // namespace salebench::cpu
#endif
