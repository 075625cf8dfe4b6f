// From scores to weights in AVX-512: P = 2^(score factor - shift) of 2 keys for 16 query rows at a time, stored as the
// right operand of tile products.
#pragma once

#include <limits>

#include "kernels/cpu/amx/pack.h"
#include "kernels/cpu/amx/products.h"
#include "kernels/cpu/amx/schedule.h"
#include "kernels/cpu/amx/seen.h"

#include <immintrin.h>

#include "hwy/base.h"

HWY_PUSH_ATTRIBUTES("avx512f,avx512bw,avx512dq,avx512vl")
namespace salebench::cpu {

inline constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
inline constexpr int kItemPanels = 2;
inline constexpr int kPanelScores = kPanelKeys * kAmxGroup;  // floats
inline constexpr int kWeightPartBytes = 2 * kTileBytes;      // [2 x 16 rows] tiles of 16 key pairs
inline constexpr int kWeightBytes = 2 * kWeightPartBytes;    // of a panel: high and low parts

// 2^(i / 16).
alignas(64) inline constexpr float kSixteenths[16] = {0x1.000000p+0f, 0x1.0b5586p+0f, 0x1.172b84p+0f, 0x1.2387a6p+0f,
                                                      0x1.306fe0p+0f, 0x1.3dea64p+0f, 0x1.4bfdaep+0f, 0x1.5ab07ep+0f,
                                                      0x1.6a09e6p+0f, 0x1.7a1148p+0f, 0x1.8ace54p+0f, 0x1.9c4918p+0f,
                                                      0x1.ae89fap+0f, 0x1.c199bep+0f, 0x1.d5818ep+0f, 0x1.ea4afap+0f};

/// 2^x to 6e-7 relative, for any x: a table of sixteenths and a polynomial of degree 2 on the rest. With tiles in use
/// only one of the two vector ports multiplies, so this takes few multiplications.
HWY_INLINE __m512 exp2_lanes(__m512 x) {
  const __m512 to_sixteenths = _mm512_set1_ps(0x1.8p19f);  // leaves floor(16 x) in the lowest bits
  const __m512 index = _mm512_add_round_ps(x, to_sixteenths, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  const __m512 table = _mm512_permutexvar_ps(_mm512_castps_si512(index), _mm512_load_ps(kSixteenths));
  const __m512 f = _mm512_reduce_ps(x, 0x49);  // x - floor(16 x) / 16
  const __m512 slope = _mm512_fmadd_ps(_mm512_set1_ps(0x1.f5f79cp-3f), f, _mm512_set1_ps(0x1.62d7d8p-1f));
  const __m512 p = _mm512_mul_ps(table, _mm512_fmadd_ps(slope, f, _mm512_set1_ps(1.0f)));
  return _mm512_scalef_ps(p, x);  // p 2^floor(x)
}

/// The upper halves of two vectors: a's in the lower half of each lane, b's in the upper.
HWY_INLINE __m512i upper_halves(__m512i a, __m512i b) {
  const __m512i mask = _mm512_set1_epi32(int(0xffff0000u));
  return _mm512_ternarylogic_epi32(_mm512_srli_epi32(a, 16), b, mask, 0xf8);  // a >> 16 | b & mask
}

/// Stores the weights of two keys for 16 rows as bfloat16, and what that leaves as bfloat16 too.
HWY_INLINE void store_weights(__m512 a, __m512 b, std::byte* at) {
  const __m512i mask = _mm512_set1_epi32(int(0xffff0000u)), half = _mm512_set1_epi32(0x8000);
  const __m512i a_high = _mm512_add_epi32(_mm512_castps_si512(a), half);
  const __m512i b_high = _mm512_add_epi32(_mm512_castps_si512(b), half);
  _mm512_store_si512(at, upper_halves(a_high, b_high));
  const __m512 a_rest = _mm512_sub_ps(a, _mm512_castsi512_ps(_mm512_and_si512(a_high, mask)));
  const __m512 b_rest = _mm512_sub_ps(b, _mm512_castsi512_ps(_mm512_and_si512(b_high, mask)));
  _mm512_store_si512(at + kWeightPartBytes, upper_halves(_mm512_add_epi32(_mm512_castps_si512(a_rest), half),
                                                         _mm512_add_epi32(_mm512_castps_si512(b_rest), half)));
}

/// Weights of two keys for 16 rows, added to `sum`.
HWY_INLINE void weigh_pair(const float* scores, __m512 factor, __m512 shift, __m512& sum, std::byte* weights) {
  const __m512 a = exp2_lanes(_mm512_fmsub_ps(_mm512_load_ps(scores), factor, shift));
  const __m512 b = exp2_lanes(_mm512_fmsub_ps(_mm512_load_ps(scores + kAmxGroup), factor, shift));
  sum = _mm512_add_ps(sum, _mm512_add_ps(a, b));
  asm volatile("" : "+v"(sum));  // now: GCC would spill all weights and add them up at the end
  store_weights(a, b, weights);
}

/// What weigh_scheduled keeps in registers: of rows 0 to 15 and 16 to 31.
struct RowState {
  __m512 factor, shift0, shift1, sum0, sum1;
};

/// The weights of slots kSlot and on, 2 keys by 32 rows each, with the products of a schedule spread over them.
template <class Products, int kSlot>
HWY_INLINE void weigh_scheduled(const ScheduleData& data, const float* scores, std::byte* weights, RowState& rows) {
  constexpr int kSlots = kItemPanels * kPanelKeys / 2, kPairs = kPanelKeys / 2;
  if constexpr (kSlot < kSlots) {
    Products::template run<Products::kSteps * kSlot / kSlots, Products::kSteps*(kSlot + 1) / kSlots>(data);
    Products::template ask_ahead<kSlot>(data);
    const float* const s = scores + kSlot * 2 * kAmxGroup;
    std::byte* const out = weights + kSlot / kPairs * kWeightBytes + kSlot % kPairs * 64;
    weigh_pair(s, rows.factor, rows.shift0, rows.sum0, out);
    weigh_pair(s + 16, rows.factor, rows.shift1, rows.sum1, out + kTileBytes);
    weigh_scheduled<Products, kSlot + 1>(data, scores, weights, rows);
  }
}

/// Weights of any panel, with queued products spread over them: advances the queue after each pair of keys.
template <bool kMasked, bool kStore>
inline void weigh_panel(const float* scores, const SeenKeys& seen, RowState& state, TileQueue& queue, std::byte* out) {
  const __m512 factor = state.factor, shift[2] = {state.shift0, state.shift1};
  __m512 total[2] = {state.sum0, state.sum1};
  for (int pair = 0; pair < kPanelKeys / 2; ++pair) {
    for (int half = 0; half < 2; ++half) {
      const float* const s = scores + 2 * pair * kAmxGroup + half * 16;
      __m512 a = _mm512_fmsub_ps(_mm512_load_ps(s), factor, shift[half]);
      __m512 b = _mm512_fmsub_ps(_mm512_load_ps(s + kAmxGroup), factor, shift[half]);
      if (kMasked) {
        const __m512i rows = _mm512_load_si512(seen.rows + half * 16), bit = _mm512_set1_epi32(int(1u << 2 * pair));
        const __m512 hidden = _mm512_set1_ps(kMinusInfinity);
        a = _mm512_mask_mov_ps(hidden, _mm512_test_epi32_mask(rows, bit), a);
        b = _mm512_mask_mov_ps(hidden, _mm512_test_epi32_mask(rows, _mm512_slli_epi32(bit, 1)), b);
      }
      a = exp2_lanes(a), b = exp2_lanes(b);
      total[half] = _mm512_add_ps(total[half], _mm512_add_ps(a, b));
      if (kStore) store_weights(a, b, out + half * kTileBytes + pair * 64);
    }
    queue.advance();
  }
  state.sum0 = total[0], state.sum1 = total[1];
}

/// Raises `most` to the largest scores times factor that 32 rows see.
template <bool kMasked>
inline void panel_maximum(const float* scores, __m512 factor, const SeenKeys& seen, __m512 most[2]) {
  for (int key = 0; key < kPanelKeys; ++key)
    for (int half = 0; half < 2; ++half) {
      const __m512 x = _mm512_mul_ps(_mm512_load_ps(scores + key * kAmxGroup + half * 16), factor);
      const __m512i rows = _mm512_load_si512(seen.rows + half * 16);
      const __mmask16 seen_rows =
          kMasked ? _mm512_test_epi32_mask(rows, _mm512_set1_epi32(int(1u << key))) : __mmask16(0xffff);
      most[half] = _mm512_mask_max_ps(most[half], seen_rows, most[half], x);
    }
}

}  // namespace salebench::cpu
HWY_POP_ATTRIBUTES
