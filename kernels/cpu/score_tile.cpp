#include "kernels/cpu/score_tile.h"

#include <algorithm>
#include <cmath>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/score_tile.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.h, as it includes this file again for each target.
#include "kernels/cpu/gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace salebench::cpu {
namespace HWY_NAMESPACE {

/// Folds the probabilities of each key: fold(value of the key, probability).
template <class Fold>
HWY_INLINE void fold_keys(const ScoreTask& task, int key_end, float* key_value, const Fold& fold) {
  const FloatTag d;
  const int lanes = int(hn::Lanes(d));
  float s[kRowTile * kPanelKeys];
  for (int panel = task.limits.key_begin(0) / kPanelKeys; panel * kPanelKeys < key_end; ++panel) {
    panel_scores(task.q, round_up(task.rows, kRowStep), task.dim, task.kv->panel(panel, task.dim), s, kPanelKeys);
    const int first = panel * kPanelKeys;
    for (int r = 0; r < task.rows; ++r) {
      const FloatVec shift = hn::Set(d, task.row_value[r]);
      const int seen = std::clamp(task.limits.key_end(r) - first, 0, std::min(kPanelKeys, task.limits.kv_len - first));
      // Rounding may leave a score a hair above its row's log-sum-exp.
      for (int j = 0; j < kPanelKeys; j += lanes)
        hn::StoreU(exp2_nonpositive(hn::Min(hn::Sub(hn::LoadU(d, s + r * kPanelKeys + j), shift), hn::Zero(d))), d,
                   s + r * kPanelKeys + j);
      for (int j = std::max(0, task.limits.key_begin(r) - first); j < seen; ++j)
        fold(key_value[first + j], s[r * kPanelKeys + j]);
    }
  }
}

void AddKeyMass(const ScoreTask& task, int key_end, float* key_mass) {
  fold_keys(task, key_end, key_mass, [](float& mass, float probability) { mass += probability; });
}

void RaiseKeyPeak(const ScoreTask& task, int key_end, float* key_peak) {
  fold_keys(task, key_end, key_peak, [](float& peak, float probability) { peak = std::max(peak, probability); });
}

HWY_INLINE bool panel_reaches(const ScoreTask& task, int panel) {
  const FloatTag d;
  const int lanes = int(hn::Lanes(d));
  const float* const keys = task.kv->panel(panel, task.dim);
  const float* const bias = task.key_bias ? task.key_bias + std::size_t(panel) * kPanelKeys : nullptr;
  float s[kRowStep * kPanelKeys];
  // Row by row step, so that a panel reached early costs little.
  for (int row = 0; row < task.rows; row += kRowStep) {
    panel_scores(task.q + std::size_t(row) * task.dim, kRowStep, task.dim, keys, s, kPanelKeys);
    for (int r = row; r < std::min(task.rows, row + kRowStep); ++r) {
      const FloatVec threshold = hn::Set(d, task.row_value[r]);
      for (int j = 0; j < kPanelKeys; j += lanes) {
        FloatVec score = hn::LoadU(d, s + (r - row) * kPanelKeys + j);
        if (bias) score = hn::Add(score, hn::LoadU(d, bias + j));
        if (!hn::AllFalse(d, hn::Ge(score, threshold))) return true;
      }
    }
  }
  return false;
}

void TilesReach(const ScoreTask& task, int first_panel, int tile_panels, std::span<std::uint8_t> reached) {
  for (std::size_t tile = 0; tile < reached.size(); ++tile)
    for (int i = 0; i < tile_panels && !reached[tile]; ++i)
      reached[tile] = panel_reaches(task, first_panel + int(tile) * tile_panels + i);
}

void AddToLse(const ScoreTask& task, int panel, float* lse) {
  const FloatTag d;
  const int lanes = int(hn::Lanes(d));
  float s[kRowTile * kPanelKeys];
  panel_scores(task.q, round_up(task.rows, kRowStep), task.dim, task.kv->panel(panel, task.dim), s, kPanelKeys);
  for (int r = 0; r < task.rows; ++r) {
    const float* const row = s + r * kPanelKeys;
    const float most = std::max(lse[r], *std::max_element(row, row + kPanelKeys));
    FloatVec sum = hn::Zero(d);
    for (int j = 0; j < kPanelKeys; j += lanes)
      sum = hn::Add(sum, exp2_nonpositive(hn::Sub(hn::LoadU(d, row + j), hn::Set(d, most))));
    lse[r] = most + std::log2(std::exp2(lse[r] - most) + hn::GetLane(hn::SumOfLanes(d, sum)));
  }
}

/// column[j] (+)= over rows [begin, end) of a block: what key j's relative scores come to. s is [rows, 32].
template <TileScore kKind>
HWY_INLINE void reduce_rows(const float* s, const float* row_lse, int begin, int end, float* column) {
  const FloatTag d;
  const int lanes = int(hn::Lanes(d));
  for (int j = 0; j < kPanelKeys; j += lanes) {
    FloatVec all = hn::Set(d, kKind == TileScore::max ? -std::numeric_limits<float>::infinity() : 0.0f);
    for (int r = begin; r < end; ++r) {
      const FloatVec relative = hn::Sub(hn::LoadU(d, s + r * kPanelKeys + j), hn::Set(d, row_lse[r]));
      if constexpr (kKind == TileScore::max)
        all = hn::Max(all, relative);
      else  // scores may be above their row's log-sum-exp; exp2_nonpositive holds up to 2^127
        all = hn::Add(all, exp2_nonpositive(hn::Min(relative, hn::Set(d, 100.0f))));
    }
    hn::StoreU(all, d, column + j);
  }
}

template <TileScore kKind>
void TileScores(const PooledTask& task, float* out) {
  const int blocks = (task.rows + task.rows_per_block - 1) / task.rows_per_block;
  float s[kPooledRows * kPanelKeys], column[kPanelKeys];
  int first_block = 0;  // the blocks before it need no more keys
  for (int panel = 0;; ++panel) {
    const int first_key = panel * kPanelKeys;
    while (first_block < blocks && task.key_end[first_block] <= first_key) ++first_block;
    if (first_block == blocks) return;
    const int from = first_block * task.rows_per_block / kRowStep * kRowStep;
    panel_scores(task.q + std::size_t(from) * task.dim, round_up(task.rows - from, kRowStep), task.dim,
                 task.keys->panel(panel, task.dim), s + from * kPanelKeys, kPanelKeys);
    for (int block = first_block; block < blocks; ++block) {
      const int begin = block * task.rows_per_block, end = std::min(task.rows, begin + task.rows_per_block);
      reduce_rows<kKind>(s, task.row_lse, begin, end, column);
      float* const tiles = out + std::size_t(block) * task.tiles;
      for (int j = 0; j < std::min(kPanelKeys, task.key_end[block] - first_key); ++j) {
        float& tile = tiles[(first_key + j) / task.tile_keys];
        tile = kKind == TileScore::max ? std::max(tile, column[j]) : tile + column[j];
      }
    }
  }
}

void TileMax(const PooledTask& task, float* out) {
  TileScores<TileScore::max>(task, out);
}
void TileMass(const PooledTask& task, float* out) {
  TileScores<TileScore::mass>(task, out);
}

}  // namespace HWY_NAMESPACE
}  // namespace salebench::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace salebench::cpu {
HWY_EXPORT(AddKeyMass);
HWY_EXPORT(RaiseKeyPeak);
HWY_EXPORT(TilesReach);
HWY_EXPORT(AddToLse);
HWY_EXPORT(TileMax);
HWY_EXPORT(TileMass);

void add_key_mass(const ScoreTask& task, int key_end, float* key_mass) {
  HWY_DYNAMIC_DISPATCH(AddKeyMass)(task, key_end, key_mass);
}
void raise_key_peak(const ScoreTask& task, int key_end, float* key_peak) {
  HWY_DYNAMIC_DISPATCH(RaiseKeyPeak)(task, key_end, key_peak);
}
void tiles_reach(const ScoreTask& task, int first_panel, int tile_panels, std::span<std::uint8_t> reached) {
  HWY_DYNAMIC_DISPATCH(TilesReach)(task, first_panel, tile_panels, reached);
}
void add_to_lse(const ScoreTask& task, int panel, float* lse) {
  HWY_DYNAMIC_DISPATCH(AddToLse)(task, panel, lse);
}
void tile_scores(const PooledTask& task, TileScore kind, float* out) {
  if (kind == TileScore::max)
    HWY_DYNAMIC_DISPATCH(TileMax)(task, out);
  else
    HWY_DYNAMIC_DISPATCH(TileMass)(task, out);
}

}  // namespace salebench::cpu
#endif
