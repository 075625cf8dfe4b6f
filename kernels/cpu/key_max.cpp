#include "kernels/cpu/key_max.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/key_max.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.h, as it includes this file again for each target.
#include "kernels/cpu/gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace salebench::cpu {
namespace HWY_NAMESPACE {

void KeyMax(const float* q, int rows, int dim, const PackedHead& keys, std::span<float> most) {
  const FloatTag d;
  const int lanes = int(hn::Lanes(d));
  float s[kRowTile * kPanelKeys];
  for (int panel = 0; panel * kPanelKeys < int(most.size()); ++panel) {
    panel_scores(q, round_up(rows, kRowStep), dim, keys.panel(panel, dim), s, kPanelKeys);
    for (int j = 0; j < kPanelKeys; j += lanes) {
      FloatVec best = hn::LoadU(d, s + j);
      for (int r = 1; r < rows; ++r) best = hn::Max(best, hn::LoadU(d, s + r * kPanelKeys + j));
      hn::StoreU(best, d, &most[std::size_t(panel) * kPanelKeys + j]);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace salebench::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace salebench::cpu {
HWY_EXPORT(KeyMax);

void key_max(const float* q, int rows, int dim, const PackedHead& keys, std::span<float> most) {
  HWY_DYNAMIC_DISPATCH(KeyMax)(q, rows, dim, keys, most);
}

}  // namespace salebench::cpu
#endif
