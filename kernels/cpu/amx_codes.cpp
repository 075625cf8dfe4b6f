// Scores are computed transposed, S^T = K Q^T, so that a vector holds one key's sums for 16 query rows. A tile of sums
// is first compared with integer thresholds that no estimate of the panel's scale groups can reach without passing: one
// per row and group of 8 keys. Only where one is passed the exact rule is evaluated, in the same float operations as
// elsewhere.
#include "kernels/cpu/amx_codes.h"

#if defined(__x86_64__) && defined(__linux__)
#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "hwy/base.h"
#include "kernels/cpu/amx_tile.h"
#include "kernels/cpu/amx_transpose.h"
#include "kernels/cpu/packed.h"

HWY_PUSH_ATTRIBUTES("avx512f,avx512bw,avx512dq,avx512vl")
namespace salebench::cpu {
namespace {

constexpr int kQuadsPerTile = 16;
constexpr int kScaleGroups = 4;  // keys j with equal (j mod 8) / 2 share a scale
constexpr int kUnitRows = 32;    // query rows of a unit of work: 2 tiles
constexpr int kMaxUnits = kRowTile / kUnitRows;
constexpr float kSlack = 1e-6f;   // relative, for the rounding of the exact rule and of the bounds
constexpr float kMargin = 1.25f;  // the bias and the threshold are each rounded to an integer

struct RowLimits32 {
  alignas(64) float limit[kUnitRows], low_limit[kUnitRows], inverse[kUnitRows];
};

class Scan {
 public:
  Scan(const CodeTask& task, const AmxCodes& packed, AmxCodeWorkspace& work);
  void run(int first_panel, int tile_panels, std::vector<bool>& reached);

 private:
  void pack_queries(int unit);
  void set_limits(int unit);
  void multiply(int panel, int unit) const;
  void store(int unit) const;
  bool passes(int panel, int unit) const;
  bool reaches(int panel, int unit, int half, int group) const;

  const CodeTask& task_;
  const SaleCodes& codes_;
  const AmxCodes& packed_;
  int units_;
  std::byte* queries_;  ///< [units, depth_tiles, 2 x 16 rows] tiles of 16 quads
  std::int32_t* sums_;  ///< [units, 32 keys, 32 rows]
  RowLimits32 limits_[kMaxUnits];
};

Scan::Scan(const CodeTask& task, const AmxCodes& packed, AmxCodeWorkspace& work)
    : task_(task), codes_(*task.codes), packed_(packed), units_((task.rows + kUnitRows - 1) / kUnitRows) {
  const std::size_t query_bytes = std::size_t(units_) * packed.depth_tiles * 2 * kTileBytes;
  const std::size_t sum_bytes = std::size_t(units_) * 4 * kTileBytes;
  std::byte* const at = work.memory.reserve(query_bytes + sum_bytes);
  queries_ = at;
  sums_ = reinterpret_cast<std::int32_t*>(at + query_bytes);
  for (int unit = 0; unit < units_; ++unit) pack_queries(unit), set_limits(unit);
}

void Scan::pack_queries(int unit) {
  const std::size_t first = std::size_t(task_.q_head) * task_.q_len + task_.row_begin + unit * kUnitRows;
  for (int step = 0; step < packed_.depth_tiles; ++step)
    for (int half = 0; half < 2; ++half) {
      const int quads = std::min(kQuadsPerTile, codes_.quads - step * kQuadsPerTile);
      __m512i quad[16];
      for (int r = 0; r < 16; ++r) {
        const int row = half * 16 + r;
        const auto mask = __mmask16(unit * kUnitRows + row < task_.rows ? (1u << quads) - 1 : 0u);
        const std::size_t at = mask ? (first + row) * 4 * codes_.quads + step * 64 : 0;
        quad[r] = _mm512_maskz_loadu_epi32(mask, codes_.q.data() + at);
      }
      transpose16(quad);
      std::byte* const out = queries_ + ((std::size_t(unit) * packed_.depth_tiles + step) * 2 + half) * kTileBytes;
      for (int i = 0; i < 16; ++i) _mm512_store_si512(out + i * 64, quad[i]);
    }
}

void Scan::set_limits(int unit) {
  RowLimits32& limits = limits_[unit];
  for (int i = 0; i < kUnitRows; ++i) {
    const int r = unit * kUnitRows + i;
    limits.limit[i] = std::numeric_limits<float>::infinity();  // rows that pad the tile never reach it
    limits.inverse[i] = 0;
    if (r < task_.rows) {
      const float scale = codes_.q_scale[std::size_t(task_.q_head) * task_.q_len + task_.row_begin + r];
      if (scale > 0) limits.limit[i] = task_.thresholds[r] / scale, limits.inverse[i] = 1.0f / scale;
      if (scale == 0 && task_.thresholds[r] <= 0) limits.limit[i] = -std::numeric_limits<float>::infinity();
    }
    const float slack = std::isinf(limits.limit[i]) ? 0.0f : kSlack * std::fabs(limits.limit[i]);
    limits.low_limit[i] = limits.limit[i] - slack;
  }
}

/// The sums of a panel for 32 rows, into tiles 0 to 3.
HWY_INLINE void Scan::multiply(int panel, int unit) const {
  const std::size_t at = std::size_t(task_.kv_head) * codes_.panels + panel;
  const std::byte* keys = packed_.keys + at * packed_.depth_tiles * 2 * kTileBytes;
  const std::byte* queries = queries_ + std::size_t(unit) * packed_.depth_tiles * 2 * kTileBytes;
  tile_zero<0>(), tile_zero<1>(), tile_zero<2>(), tile_zero<3>();
  for (int step = 0; step < packed_.depth_tiles; ++step, keys += 2 * kTileBytes, queries += 2 * kTileBytes) {
    tile_load<4>(keys), tile_load<6>(queries), tile_load<7>(queries + kTileBytes), tile_load<5>(keys + kTileBytes);
    tile_multiply_int8<0, 4, 6>(), tile_multiply_int8<1, 4, 7>();
    tile_multiply_int8<2, 5, 6>(), tile_multiply_int8<3, 5, 7>();
  }
}

HWY_INLINE void Scan::store(int unit) const {
  constexpr std::int64_t kRowBytes = kUnitRows * sizeof(std::int32_t);
  std::int32_t* const sums = sums_ + unit * kPanelKeys * kUnitRows;
  tile_store<0>(sums, kRowBytes), tile_store<1>(sums + 16, kRowBytes);
  tile_store<2>(sums + 16 * kUnitRows, kRowBytes), tile_store<3>(sums + 16 * kUnitRows + 16, kRowBytes);
}

/// Whether any estimated logit of the unit reaches its row's threshold.
HWY_INLINE bool Scan::passes(int panel, int unit) const {
  const float* const bounds = packed_.bounds + (std::size_t(task_.q_head) * codes_.panels + panel) * 2 * kScaleGroups;
  const __m512 most = _mm512_set1_ps(1e9f);
  for (int half = 0; half < 2; ++half) {
    const std::int32_t* const sums = sums_ + unit * kPanelKeys * kUnitRows + half * 16;
    const __m512 limit = _mm512_load_ps(limits_[unit].low_limit + half * 16);
    const __m512 inverse = _mm512_load_ps(limits_[unit].inverse + half * 16);
    __m512i below[kScaleGroups];  // sign set where a sum exceeds its threshold
    for (int g = 0; g < kScaleGroups; ++g) {
      const __m512 bias = _mm512_fmadd_ps(inverse, _mm512_set1_ps(bounds[2 * g + 1]), _mm512_set1_ps(kMargin));
      const __m512 exact = _mm512_fmsub_ps(limit, _mm512_set1_ps(bounds[2 * g]), bias);
      const __m512 clamped = _mm512_min_ps(_mm512_max_ps(exact, _mm512_sub_ps(_mm512_setzero_ps(), most)), most);
      const __m512i threshold = _mm512_cvtps_epi32(clamped);
      below[g] = _mm512_setzero_si512();
      for (int key = 2 * g; key < kPanelKeys; key += 8) {
        const __m512i first = _mm512_sub_epi32(threshold, _mm512_load_si512(sums + key * kUnitRows));
        const __m512i second = _mm512_sub_epi32(threshold, _mm512_load_si512(sums + (key + 1) * kUnitRows));
        below[g] = _mm512_ternarylogic_epi32(below[g], first, second, 0xfe);  // or
      }
    }
    const __m512i any = _mm512_or_si512(_mm512_or_si512(below[0], below[1]), _mm512_or_si512(below[2], below[3]));
    if (!_mm512_movepi32_mask(any)) continue;
    for (int g = 0; g < kScaleGroups; ++g)
      if (_mm512_movepi32_mask(below[g]) && reaches(panel, unit, half, g)) return true;
  }
  return false;
}

/// The exact rule for 16 rows and the keys of one scale group.
bool Scan::reaches(int panel, int unit, int half, int group) const {
  const std::int32_t* const sums = sums_ + unit * kPanelKeys * kUnitRows + half * 16;
  const float* const scale = &codes_.k_scale[(std::size_t(task_.kv_head) * codes_.panels + panel) * kPanelKeys];
  const float* const bias = &codes_.bias[(std::size_t(task_.q_head) * codes_.panels + panel) * kPanelKeys];
  const __m512 limit = _mm512_load_ps(limits_[unit].limit + half * 16);
  const __m512 inverse = _mm512_load_ps(limits_[unit].inverse + half * 16);
  for (int i = 0; i < kPanelKeys / kScaleGroups; ++i) {
    const int key = 2 * group + i / 2 * 8 + i % 2;
    const __m512i rounded_bias = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_set1_ps(bias[key]), inverse));
    const __m512i sum = _mm512_add_epi32(_mm512_load_si512(sums + key * kUnitRows), rounded_bias);
    const __m512 logit = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(scale[key]));
    if (_mm512_cmp_ps_mask(logit, limit, _CMP_GE_OQ)) return true;
  }
  return false;
}

/// Units are multiplied one ahead of the comparison, and stored only after the comparison of the one before.
void Scan::run(int first_panel, int tile_panels, std::vector<bool>& reached) {
  const int end = first_panel + tile_panels * int(reached.size());
  if (first_panel == end) return;
  multiply(first_panel, 0);
  store(0);
  for (int panel = first_panel; panel < end; ++panel) {
    const std::size_t tile = std::size_t(panel - first_panel) / tile_panels;
    bool found = reached[tile];
    for (int unit = 0; unit < units_; ++unit) {
      const bool last = unit == units_ - 1;
      const int next_unit = last ? 0 : unit + 1;
      multiply(std::min(last ? panel + 1 : panel, end - 1), next_unit);
      found = found || passes(panel, unit);
      store(next_unit);
    }
    reached[tile] = found;
  }
}

void pack_panel(const SaleCodes& codes, std::size_t panel, int depth_tiles, std::byte* out) {
  for (int step = 0; step < depth_tiles; ++step)
    for (int half = 0; half < 2; ++half) {
      __m512i quad[16];
      for (int i = 0; i < 16; ++i) {
        const int q = step * kQuadsPerTile + i;
        quad[i] = q < codes.quads ? _mm512_loadu_si512(&codes.k[(panel * codes.quads + q) * kPanelKeys + half * 16])
                                  : _mm512_setzero_si512();
      }
      transpose16(quad);
      for (int key = 0; key < 16; ++key) _mm512_store_si512(out + (step * 2 + half) * kTileBytes + key * 64, quad[key]);
    }
}

/// 1 / scale and the largest bias, raised by the slack, of each scale group. A scale of 0 always passes on to the exact
/// rule.
void bound_panel(const float* scale, const float* bias, float* out) {
  for (int g = 0; g < kScaleGroups; ++g) {
    float most = -std::numeric_limits<float>::infinity(), group_scale = 0;
    for (int key = 2 * g; key < kPanelKeys; key += 8)
      for (int j = key; j < key + 2; ++j) most = std::max(most, bias[j]), group_scale = std::max(group_scale, scale[j]);
    out[2 * g] = group_scale > 0 ? 1 / group_scale : 0.0f;
    out[2 * g + 1] = group_scale > 0 ? most + kSlack * std::fabs(most) : 1e30f;
  }
}

}  // namespace

void amx_codes_reach(const CodeTask& task, const AmxCodes& packed, int first_panel, int tile_panels,
                     AmxCodeWorkspace& work, std::vector<bool>& reached) {
  Scan(task, packed, work).run(first_panel, tile_panels, reached);
}

}  // namespace salebench::cpu
HWY_POP_ATTRIBUTES

namespace salebench::cpu {

AmxCodes pack_amx_codes(const Shape& shape, const SaleCodes& codes) {
  thread_local AlignedBuffer key_memory, bound_memory;
  AmxCodes packed;
  packed.depth_tiles = round_up(codes.quads, kQuadsPerTile) / kQuadsPerTile;
  const int panels = codes.panels;
  const std::size_t panel_bytes = std::size_t(packed.depth_tiles) * 2 * kTileBytes;
  std::byte* const keys = key_memory.reserve(std::size_t(shape.kv_heads) * panels * panel_bytes);
  float* const bounds = reinterpret_cast<float*>(
      bound_memory.reserve(std::size_t(shape.q_heads) * panels * 2 * kScaleGroups * sizeof(float)));
  packed.keys = keys, packed.bounds = bounds;
#pragma omp parallel for
  for (int i = 0; i < shape.kv_heads * panels; ++i)
    pack_panel(codes, std::size_t(i), packed.depth_tiles, keys + i * panel_bytes);
#pragma omp parallel for collapse(2)
  for (int head = 0; head < shape.q_heads; ++head)
    for (int panel = 0; panel < panels; ++panel) {
      const std::size_t kv = (std::size_t(shape.kv_head_of(head)) * panels + panel) * kPanelKeys;
      const std::size_t q = (std::size_t(head) * panels + panel) * kPanelKeys;
      bound_panel(&codes.k_scale[kv], &codes.bias[q], bounds + (std::size_t(head) * panels + panel) * 2 * kScaleGroups);
    }
  return packed;
}

}  // namespace salebench::cpu
#endif
