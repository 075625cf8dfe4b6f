// Scores are computed transposed, S^T = K Q^T, so that a vector holds one key's sums for 16 query rows. The largest sum
// of a row and a scale group's 8 keys, with the group's largest bias, bounds their estimates. Only where that reaches
// the row's limit the exact rule is evaluated, in the same float operations as elsewhere. A panel's tiles stay in
// registers while the rows of all tasks pass by.
#include "kernels/cpu/amx/codes.h"

#include <immintrin.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "hwy/base.h"
#include "kernels/cpu/amx/tile.h"
#include "kernels/cpu/amx/transpose.h"
#include "kernels/cpu/packed.h"

HWY_PUSH_ATTRIBUTES("avx512f,avx512bw,avx512dq,avx512vl")
namespace salebench::cpu {
namespace {

constexpr int kQuadsPerTile = 16;
constexpr int kGroupRows = 16;
constexpr int kUnitRows = 32;                   // rows of a task are padded to whole pairs of groups
constexpr int kSums = kPanelKeys * kGroupRows;  // of a step
constexpr float kSlack = 1e-6f;                 // relative, for the rounding of the exact rule and of the bounds
constexpr float kMargin = 0.75f;                // the bias is rounded to an integer

/// Key i of a scale group, in the panel.
constexpr int group_key(int scale_group, int i) {
  return 2 * scale_group + i / 2 * 8 + i % 2;
}

/// What a product's right operand is: a group of rows, in one tile for each 64 channels.
struct Step {
  int group = -1, panel = 0, tile = 0;
};

class Scan {
 public:
  Scan(std::span<const CodeTask> tasks, const AmxCodes& packed, AmxCodeWorkspace& work);
  void run(int first_panel, int tile_panels);

 private:
  void add_rows(const CodeTask& task, int begin);
  void pack_queries(const CodeTask& task, int begin, std::byte* out) const;
  const std::byte* panel_keys(int panel) const {
    return packed_.keys.data() + (std::size_t(kv_head_) * codes_.panels + panel) * packed_.depth_tiles * 2 * kTileBytes;
  }
  std::int32_t* sums(int buffer) const { return sums_ + std::size_t(buffer) * kSums; }
  template <int kSet, bool kKeysLoaded>
  void multiply(const Step& step) const;
  bool may_reach(const Step& step, const std::int32_t* sums) const;
  bool reaches(const Step& step, const std::int32_t* sums) const;
  void check(const Step& step, const std::int32_t* sums);
  template <bool kOneDepth>
  void run_panels(int first_panel, int tile_panels);

  const SaleCodes& codes_;
  const AmxCodes& packed_;
  int kv_head_;
  std::byte* queries_;  ///< [groups, depth_tiles] tiles of 16 quads by 16 rows
  std::int32_t* sums_;  ///< [2, 32 keys, 16 rows] of the steps under way
  std::vector<AmxCodeGroup>& groups_;
};

Scan::Scan(std::span<const CodeTask> tasks, const AmxCodes& packed, AmxCodeWorkspace& work)
    : codes_(*tasks.front().codes), packed_(packed), kv_head_(tasks.front().kv_head), groups_(work.groups) {
  const int rows = std::accumulate(tasks.begin(), tasks.end(), 0,
                                   [](int sum, const CodeTask& task) { return sum + round_up(task.rows, kUnitRows); });
  const std::size_t query_bytes = std::size_t(rows / kGroupRows) * packed.depth_tiles * kTileBytes;
  queries_ = work.memory.reserve(query_bytes + 2 * kSums * sizeof(std::int32_t));
  sums_ = reinterpret_cast<std::int32_t*>(queries_ + query_bytes);
  groups_.clear();
  for (const CodeTask& task : tasks)
    for (int begin = 0; begin < round_up(task.rows, kUnitRows); begin += kGroupRows) add_rows(task, begin);
}

/// Rows [begin, begin + 16) of a task; those that pad it never reach their limit.
void Scan::add_rows(const CodeTask& task, int begin) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  pack_queries(task, begin, queries_ + groups_.size() * packed_.depth_tiles * kTileBytes);
  AmxCodeGroup& group = groups_.emplace_back();
  group.head = task.q_head;
  group.reached = task.reached;
  for (int i = 0; i < kGroupRows; ++i) {
    const int r = begin + i;
    group.limit[i] = kInfinity;
    group.inverse[i] = 0;
    if (r < task.rows) {
      const float scale = codes_.q_scale[std::size_t(task.q_head) * task.q_len + task.row_begin + r];
      if (scale > 0) group.limit[i] = task.thresholds[r] / scale, group.inverse[i] = 1.0f / scale;
      if (scale == 0 && task.thresholds[r] <= 0) group.limit[i] = -kInfinity;
    }
    const float slack = std::isinf(group.limit[i]) ? 0.0f : kSlack * std::fabs(group.limit[i]);
    group.low_limit[i] = group.limit[i] - slack;
  }
}

void Scan::pack_queries(const CodeTask& task, int begin, std::byte* out) const {
  const std::size_t first = std::size_t(task.q_head) * task.q_len + task.row_begin + begin;
  for (int step = 0; step < packed_.depth_tiles; ++step, out += kTileBytes) {
    const int quads = std::min(kQuadsPerTile, codes_.quads - step * kQuadsPerTile);
    __m512i quad[16];
    for (int r = 0; r < kGroupRows; ++r) {
      const auto mask = __mmask16(begin + r < task.rows ? (1u << quads) - 1 : 0u);
      const std::size_t at = mask ? (first + r) * 4 * codes_.quads + step * 64 : 0;
      quad[r] = _mm512_maskz_loadu_epi32(mask, codes_.q.data() + at);
    }
    transpose16(quad);
    for (int i = 0; i < 16; ++i) _mm512_store_si512(out + i * 64, quad[i]);
  }
}

/// The sums of a panel for 16 rows, into tiles 2 kSet and 2 kSet + 1. kKeysLoaded: tiles 4 and 5 hold the keys.
template <int kSet, bool kKeysLoaded>
HWY_INLINE void Scan::multiply(const Step& step) const {
  const std::byte* keys = panel_keys(step.panel);
  const std::byte* queries = queries_ + std::size_t(step.group) * packed_.depth_tiles * kTileBytes;
  tile_zero<2 * kSet>(), tile_zero<2 * kSet + 1>();
  for (int i = 0; i < (kKeysLoaded ? 1 : packed_.depth_tiles); ++i, keys += 2 * kTileBytes, queries += kTileBytes) {
    if (!kKeysLoaded) tile_load<4>(keys), tile_load<5>(keys + kTileBytes);
    tile_load<6 + kSet>(queries);
    tile_multiply_int8<2 * kSet, 4, 6 + kSet>(), tile_multiply_int8<2 * kSet + 1, 5, 6 + kSet>();
  }
}

template <int kSet>
HWY_INLINE void store(std::int32_t* sums) {
  tile_store<2 * kSet>(sums), tile_store<2 * kSet + 1>(sums + kSums / 2);
}

/// Whether an estimated logit may reach its row's limit.
HWY_INLINE bool Scan::may_reach(const Step& step, const std::int32_t* sums) const {
  const AmxCodeGroup& group = groups_[std::size_t(step.group)];
  const AmxCodeBounds& bounds = packed_.panel_bounds(group.head, step.panel);
  const __m512 inverse = _mm512_load_ps(group.inverse);
  __m512 bound[kScaleGroups];
  for (int g = 0; g < kScaleGroups; ++g) {
    __m512i most = _mm512_load_si512(sums + group_key(g, 0) * kGroupRows);
    for (int i = 1; i < kPanelKeys / kScaleGroups; ++i)
      most = _mm512_max_epi32(most, _mm512_load_si512(sums + group_key(g, i) * kGroupRows));
    const __m512 units = _mm512_fmadd_ps(inverse, _mm512_set1_ps(bounds.bias[g]), _mm512_cvtepi32_ps(most));
    bound[g] = _mm512_fmadd_ps(units, _mm512_set1_ps(bounds.scale[g]), _mm512_set1_ps(bounds.margin[g]));
  }
  const __m512 largest = _mm512_max_ps(_mm512_max_ps(bound[0], bound[1]), _mm512_max_ps(bound[2], bound[3]));
  return _mm512_cmp_ps_mask(largest, _mm512_load_ps(group.low_limit), _CMP_GE_OQ) != 0;
}

/// The exact rule. Not inline, which would cost may_reach() registers. As the keys of a scale group share their scale,
/// their largest sum decides.
bool Scan::reaches(const Step& step, const std::int32_t* sums) const {
  const AmxCodeGroup& group = groups_[std::size_t(step.group)];
  const float* const bias = &codes_.bias[(std::size_t(group.head) * codes_.panels + step.panel) * kPanelKeys];
  const float* const scale = packed_.panel_bounds(group.head, step.panel).scale;
  const __m512 limit = _mm512_load_ps(group.limit), inverse = _mm512_load_ps(group.inverse);
  __mmask16 reached = 0;
  for (int g = 0; g < kScaleGroups; ++g) {
    __m512i most = _mm512_set1_epi32(std::numeric_limits<std::int32_t>::min());
    for (int i = 0; i < kPanelKeys / kScaleGroups; ++i) {
      const int key = group_key(g, i);
      const __m512i rounded_bias = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_set1_ps(bias[key]), inverse));
      most = _mm512_max_epi32(most, _mm512_add_epi32(_mm512_load_si512(sums + key * kGroupRows), rounded_bias));
    }
    const __m512 logit = _mm512_mul_ps(_mm512_cvtepi32_ps(most), _mm512_set1_ps(scale[g]));
    reached |= _mm512_cmp_ps_mask(logit, limit, _CMP_GE_OQ);
  }
  return reached != 0;
}

/// Marks the step's tile if an estimated logit reaches its row's limit.
HWY_INLINE void Scan::check(const Step& step, const std::int32_t* sums) {
  if (!may_reach(step, sums)) return;
  std::uint8_t& reached = groups_[std::size_t(step.group)].reached[std::size_t(step.tile)];
  if (!reached) reached = reaches(step, sums);
}

/// Three steps are under way at a time: one is multiplied, the one before it stored, and the one before that checked.
/// They take turns with two sets of accumulators and two buffers.
template <bool kOneDepth>
void Scan::run_panels(int first_panel, int tile_panels) {
  Step stored, multiplied;
  int count = int(groups_.size());
  for (int panel = first_panel;; ++panel) {
    const int tile = (panel - first_panel) / tile_panels;
    while (count > 0 && int(groups_[std::size_t(count) - 1].reached.size()) <= tile) --count;
    if (count == 0) break;
    if (kOneDepth) tile_load<4>(panel_keys(panel)), tile_load<5>(panel_keys(panel) + kTileBytes);
    for (int group = 0; group < count; group += 2) {
      const Step even = {group, panel, tile}, odd = {group + 1, panel, tile};
      multiply<0, kOneDepth>(even);
      store<1>(sums(1));
      if (stored.group >= 0) check(stored, sums(0));
      multiply<1, kOneDepth>(odd);
      store<0>(sums(0));
      if (multiplied.group >= 0) check(multiplied, sums(1));
      stored = even, multiplied = odd;
    }
  }
  if (stored.group < 0) return;
  store<1>(sums(1));
  check(stored, sums(0));
  check(multiplied, sums(1));
}

void Scan::run(int first_panel, int tile_panels) {
  packed_.depth_tiles == 1 ? run_panels<true>(first_panel, tile_panels) : run_panels<false>(first_panel, tile_panels);
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

/// Of each scale group: its scale and its largest bias, raised by the slack.
void bound_panel(const float* scale, const float* bias, AmxCodeBounds& out) {
  for (int g = 0; g < kScaleGroups; ++g) {
    float most = -std::numeric_limits<float>::infinity(), group_scale = 0;
    for (int i = 0; i < kPanelKeys / kScaleGroups; ++i) {
      most = std::max(most, bias[group_key(g, i)]);
      group_scale = std::max(group_scale, scale[group_key(g, i)]);  // 0 for keys that pad the panel
    }
    out.bias[g] = most + kSlack * std::fabs(most);
    out.scale[g] = group_scale;
    out.margin[g] = kMargin * group_scale;
  }
}

}  // namespace

void amx_codes_reach(std::span<const CodeTask> tasks, const AmxCodes& packed, int first_panel, int tile_panels,
                     AmxCodeWorkspace& work) {
  if (!tasks.empty()) Scan(tasks, packed, work).run(first_panel, tile_panels);
}

}  // namespace salebench::cpu
HWY_POP_ATTRIBUTES

namespace salebench::cpu {

void pack_amx_codes(const Shape& shape, const SaleCodes& codes, AmxCodes& packed) {
  packed.q_heads = shape.q_heads;
  packed.depth_tiles = round_up(codes.quads, kQuadsPerTile) / kQuadsPerTile;
  const int panels = codes.panels;
  const std::size_t panel_bytes = std::size_t(packed.depth_tiles) * 2 * kTileBytes;
  std::byte* const keys = packed.keys.reserve(std::size_t(shape.kv_heads) * panels * panel_bytes);
  auto* const bounds = reinterpret_cast<AmxCodeBounds*>(
      packed.bounds.reserve(std::size_t(shape.q_heads) * panels * sizeof(AmxCodeBounds)));
#pragma omp parallel for
  for (int i = 0; i < shape.kv_heads * panels; ++i)
    pack_panel(codes, std::size_t(i), packed.depth_tiles, keys + i * panel_bytes);
#pragma omp parallel for
  for (int panel = 0; panel < panels; ++panel)
    for (int head = 0; head < shape.q_heads; ++head) {
      const std::size_t kv = (std::size_t(shape.kv_head_of(head)) * panels + panel) * kPanelKeys;
      const std::size_t q = (std::size_t(head) * panels + panel) * kPanelKeys;
      bound_panel(&codes.k_scale[kv], &codes.bias[q], bounds[std::size_t(panel) * shape.q_heads + head]);
    }
}

}  // namespace salebench::cpu
