// Per panel and 8 or 4 rows: integer dot products of codes, plus the rounded bias, against thresholds in key-scale
// units.
#include "kernels/cpu/code_tile.h"

#include <algorithm>
#include <cstring>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/code_tile.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.h, as it includes this file again for each target.
#include "kernels/cpu/gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace salebench::cpu {
namespace HWY_NAMESPACE {

using IntTag = hn::RebindToSigned<FloatTag>;
using IntVec = hn::Vec<IntTag>;

// A query quad becomes words that the products below want, broadcast one at a time:
//   VNNI:       1 word, four bytes offset by 128, as vpdpbusd multiplies unsigned by signed bytes
//   AVX2, AVX3: 2 words, the even and the odd codes as pairs of int16, for vpmaddwd
//   elsewhere:  4 words, one code each
#if HWY_TARGET <= HWY_AVX3_DL
constexpr int kQuadWords = 1;
constexpr int kCodeOffset = 128;
#elif HWY_TARGET <= HWY_AVX2
constexpr int kQuadWords = 2;
constexpr int kCodeOffset = 0;
#else
constexpr int kQuadWords = 4;
constexpr int kCodeOffset = 0;
#endif

HWY_INLINE void expand_quad(const std::int8_t* codes, std::int32_t* words) {
  if constexpr (kQuadWords == 1) {
    std::uint8_t bytes[4];
    for (int i = 0; i < 4; ++i) bytes[i] = std::uint8_t(codes[i] + kCodeOffset);
    std::memcpy(words, bytes, 4);
  } else if constexpr (kQuadWords == 2) {
    const std::int16_t even[2] = {codes[0], codes[2]}, odd[2] = {codes[1], codes[3]};
    std::memcpy(words, even, 4);
    std::memcpy(words + 1, odd, 4);
  } else {
    for (int i = 0; i < 4; ++i) words[i] = codes[i];
  }
}

/// The key side of a product: four bytes a lane, split as the query words are.
struct KeyQuad {
  IntVec word[kQuadWords];
};

HWY_INLINE KeyQuad load_keys(const std::int32_t* keys) {
  const IntVec bytes = hn::LoadU(IntTag(), keys);
#if HWY_TARGET <= HWY_AVX3_DL
  return {{bytes}};
#elif HWY_TARGET <= HWY_AVX2
  const auto pairs = hn::BitCast(hn::Repartition<std::int16_t, IntTag>(), bytes);
  return {{hn::BitCast(IntTag(), hn::ShiftRight<8>(hn::ShiftLeft<8>(pairs))),
           hn::BitCast(IntTag(), hn::ShiftRight<8>(pairs))}};
#else
  return {{hn::ShiftRight<24>(hn::ShiftLeft<24>(bytes)), hn::ShiftRight<24>(hn::ShiftLeft<16>(bytes)),
           hn::ShiftRight<24>(hn::ShiftLeft<8>(bytes)), hn::ShiftRight<24>(bytes)}};
#endif
}

HWY_INLINE IntVec multiply_add(IntVec sum, const std::int32_t* query, const KeyQuad& keys) {
  const IntTag di;
#if HWY_TARGET <= HWY_AVX3_DL
  // Every AVX3_DL machine has this instruction, but Highway 1.0 does not turn its intrinsic on for the target.
  asm("vpdpbusd %2, %1, %0" : "+v"(sum.raw) : "v"(hn::Set(di, query[0]).raw), "v"(keys.word[0].raw));
  return sum;
#elif HWY_TARGET <= HWY_AVX2
  const hn::Repartition<std::int16_t, IntTag> d16;
  IntVec unused = hn::Zero(di);
  for (int i = 0; i < 2; ++i)  // on x86 all pair sums go to the returned lane
    sum = hn::ReorderWidenMulAccumulate(di, hn::BitCast(d16, hn::Set(di, query[i])), hn::BitCast(d16, keys.word[i]),
                                        sum, unused);
  return sum;
#else
  for (int i = 0; i < 4; ++i) sum = hn::Add(sum, hn::Mul(hn::Set(di, query[i]), keys.word[i]));
  return sum;
#endif
}

/// What a panel's keys bring, from the column at which a pair of vectors starts.
struct KeyColumns {
  const std::int32_t *codes, *sums;
  const float *scales, *bias;
};

/// Whether any of kBlockRows rows reaches its threshold in 2 vectors of keys.
/// limit[r] = threshold / q_scale; inverse[r] = 1 / q_scale.
template <ScaleGroups kGroups>
HWY_INLINE bool rows_reach(const std::int32_t* queries, int quads, const KeyColumns& keys, const float* limit,
                           const float* inverse) {
  const FloatTag d;
  const IntTag di;
  const int lanes = int(hn::Lanes(d));
  IntVec sum[kBlockRows][2];
  for (int v = 0; v < 2; ++v) {
    const IntVec start = hn::Mul(hn::LoadU(di, keys.sums + v * lanes), hn::Set(di, -kCodeOffset));
    for (int r = 0; r < kBlockRows; ++r) sum[r][v] = start;
  }
  const int row_words = quads * kQuadWords;
  for (int quad = 0; quad < quads; ++quad) {
    const KeyQuad first = load_keys(keys.codes + std::size_t(quad) * kPanelKeys);
    const KeyQuad second = load_keys(keys.codes + std::size_t(quad) * kPanelKeys + lanes);
    for (int r = 0; r < kBlockRows; ++r) {
      const std::int32_t* query = queries + r * row_words + quad * kQuadWords;
      sum[r][0] = multiply_add(sum[r][0], query, first);
      sum[r][1] = multiply_add(sum[r][1], query, second);
    }
  }
  auto any = hn::MaskFromVec(hn::Zero(d));
  for (int v = 0; v < 2; ++v) {
    const FloatVec bias = hn::LoadU(d, keys.bias + v * lanes), scale = hn::LoadU(d, keys.scales + v * lanes);
    for (int r = 0; r < kBlockRows; ++r) {
      const FloatVec scaled_bias = hn::Mul(bias, hn::Set(d, inverse[r]));
      FloatVec logit;
      if constexpr (kGroups == ScaleGroups::thread)
        logit = hn::Mul(hn::ConvertTo(d, hn::Add(sum[r][v], hn::NearestInt(scaled_bias))), scale);
      else
        logit = hn::MulAdd(hn::ConvertTo(d, sum[r][v]), scale, scaled_bias);
      any = hn::Or(any, hn::Ge(logit, hn::Set(d, limit[r])));
    }
  }
  return !hn::AllFalse(d, any);
}

/// A row tile as rows_reach reads it.
struct RowSide {
  const std::int32_t* words;
  int padded;
  float limit[kRowTile], inverse[kRowTile];
};

void prepare_rows(const CodeTask& task, CodeWorkspace& work, RowSide* rows) {
  const SaleCodes& codes = *task.codes;
  const int row_words = codes.quads * kQuadWords;
  rows->padded = round_up(task.rows, kRowStep);
  work.queries.assign(std::size_t(rows->padded) * row_words, 0);
  rows->words = work.queries.data();
  for (int r = 0; r < rows->padded; ++r) {
    rows->limit[r] = std::numeric_limits<float>::infinity();  // rows that pad the tile never reach it
    rows->inverse[r] = 0;
    if (r >= task.rows) continue;
    const std::size_t row = std::size_t(task.q_head) * task.q_len + task.row_begin + r;
    const float scale = codes.q_scale[row];
    if (scale > 0)
      rows->limit[r] = task.thresholds[r] / scale, rows->inverse[r] = 1.0f / scale;
    else if (codes.groups == ScaleGroups::token)  // all codes are 0, so the logit is the bias
      rows->limit[r] = task.thresholds[r], rows->inverse[r] = 1;
    else if (task.thresholds[r] <= 0)  // all logits are 0
      rows->limit[r] = -std::numeric_limits<float>::infinity();
    for (int quad = 0; quad < codes.quads; ++quad)
      expand_quad(&codes.q[row * 4 * codes.quads + 4 * quad], &work.queries[r * row_words + quad * kQuadWords]);
  }
}

template <ScaleGroups kGroups>
HWY_INLINE bool panel_reaches(const CodeTask& task, const RowSide& rows, int panel) {
  const SaleCodes& codes = *task.codes;
  const int lanes = int(hn::Lanes(FloatTag()));
  const std::size_t kv = (std::size_t(task.kv_head) * codes.panels + panel) * kPanelKeys;
  const std::size_t biased = (std::size_t(task.q_head) * codes.panels + panel) * kPanelKeys;
  for (int row = 0; row < rows.padded; row += kBlockRows)
    for (int column = 0; column < kPanelKeys; column += 2 * lanes) {
      const KeyColumns keys = {&codes.k[kv * codes.quads + column], &codes.k_sum[kv + column],
                               &codes.k_scale[kv + column], &codes.bias[biased + column]};
      const std::int32_t* words = rows.words + std::size_t(row) * codes.quads * kQuadWords;
      if (rows_reach<kGroups>(words, codes.quads, keys, rows.limit + row, rows.inverse + row)) return true;
    }
  return false;
}

void CodesReach(const CodeTask& task, int first_panel, int tile_panels, CodeWorkspace& work) {
  RowSide rows;
  prepare_rows(task, work, &rows);
  const bool by_thread = task.codes->groups == ScaleGroups::thread;
  for (std::size_t tile = 0; tile < task.reached.size(); ++tile)
    for (int i = 0; i < tile_panels && !task.reached[tile]; ++i) {
      const int panel = first_panel + int(tile) * tile_panels + i;
      task.reached[tile] = by_thread ? panel_reaches<ScaleGroups::thread>(task, rows, panel)
                                     : panel_reaches<ScaleGroups::token>(task, rows, panel);
    }
}

}  // namespace HWY_NAMESPACE
}  // namespace salebench::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace salebench::cpu {
HWY_EXPORT(CodesReach);

void codes_reach(const CodeTask& task, int first_panel, int tile_panels, CodeWorkspace& work) {
  HWY_DYNAMIC_DISPATCH(CodesReach)(task, first_panel, tile_panels, work);
}

}  // namespace salebench::cpu
#endif
