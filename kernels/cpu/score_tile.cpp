#include "kernels/cpu/score_tile.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/score_tile.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.h, as it includes this file again for each target.
#include "kernels/cpu/gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace salebench::cpu {
namespace HWY_NAMESPACE {

void AddKeyMass(const ScoreTask& task, int key_end, float* key_mass) {
  const FloatTag d;
  const int lanes = int(hn::Lanes(d));
  float s[kRowTile * kPanelKeys];
  for (int panel = 0; panel * kPanelKeys < key_end; ++panel) {
    panel_scores(task.q, round_up(task.rows, kRowStep), task.dim, task.kv->panel(panel, task.dim), s, kPanelKeys);
    const int first = panel * kPanelKeys;
    for (int r = 0; r < task.rows; ++r) {
      const FloatVec shift = hn::Set(d, task.row_value[r]);
      const int seen = std::clamp(task.limits.key_end(r) - first, 0, std::min(kPanelKeys, task.limits.kv_len - first));
      // Rounding may leave a score a hair above its row's log-sum-exp.
      for (int j = 0; j < kPanelKeys; j += lanes)
        hn::StoreU(exp2_nonpositive(hn::Min(hn::Sub(hn::LoadU(d, s + r * kPanelKeys + j), shift), hn::Zero(d))), d,
                   s + r * kPanelKeys + j);
      for (int j = 0; j < seen; ++j) key_mass[first + j] += s[r * kPanelKeys + j];
    }
  }
}

void PanelsReach(const ScoreTask& task, int begin, int end, std::vector<bool>& reached) {
  const FloatTag d;
  const int lanes = int(hn::Lanes(d));
  float s[kRowStep * kPanelKeys];
  reached.assign(std::size_t(end - begin), false);
  for (int panel = begin; panel < end; ++panel) {
    bool found = false;
    // Row by row step, so that a panel reached early costs little.
    for (int row = 0; row < task.rows && !found; row += kRowStep) {
      panel_scores(task.q + std::size_t(row) * task.dim, kRowStep, task.dim, task.kv->panel(panel, task.dim), s,
                   kPanelKeys);
      for (int r = row; r < std::min(task.rows, row + kRowStep) && !found; ++r) {
        const FloatVec threshold = hn::Set(d, task.row_value[r]);
        for (int j = 0; j < kPanelKeys; j += lanes)
          found |= !hn::AllFalse(d, hn::Ge(hn::LoadU(d, s + (r - row) * kPanelKeys + j), threshold));
      }
    }
    reached[std::size_t(panel - begin)] = found;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace salebench::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace salebench::cpu {
HWY_EXPORT(AddKeyMass);
HWY_EXPORT(PanelsReach);

void add_key_mass(const ScoreTask& task, int key_end, float* key_mass) {
  HWY_DYNAMIC_DISPATCH(AddKeyMass)(task, key_end, key_mass);
}
void panels_reach(const ScoreTask& task, int begin, int end, std::vector<bool>& reached) {
  HWY_DYNAMIC_DISPATCH(PanelsReach)(task, begin, end, reached);
}

}  // namespace salebench::cpu
#endif
