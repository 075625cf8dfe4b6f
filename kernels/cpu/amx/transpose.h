// A 16 x 16 transposition of 32-bit lanes.
#pragma once

#include <immintrin.h>

#include "hwy/base.h"

HWY_PUSH_ATTRIBUTES("avx512f,avx512bw,avx512dq,avx512vl")
namespace salebench::cpu {

inline void transpose16(__m512i m[16]) {
  __m512i a[16], b[16];
  for (int i = 0; i < 8; ++i) {
    a[2 * i] = _mm512_unpacklo_epi32(m[2 * i], m[2 * i + 1]);
    a[2 * i + 1] = _mm512_unpackhi_epi32(m[2 * i], m[2 * i + 1]);
  }
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 2; ++j) {
      b[4 * i + 2 * j] = _mm512_unpacklo_epi64(a[4 * i + j], a[4 * i + j + 2]);
      b[4 * i + 2 * j + 1] = _mm512_unpackhi_epi64(a[4 * i + j], a[4 * i + j + 2]);
    }
  // b[4 i + c] holds, in 128-bit lane l, column 4 l + c of rows 4 i to 4 i + 3.
  for (int c = 0; c < 4; ++c) {
    const __m512i low0 = _mm512_shuffle_i32x4(b[c], b[4 + c], 0x88), low1 = _mm512_shuffle_i32x4(b[c], b[4 + c], 0xdd);
    const __m512i high0 = _mm512_shuffle_i32x4(b[8 + c], b[12 + c], 0x88),
                  high1 = _mm512_shuffle_i32x4(b[8 + c], b[12 + c], 0xdd);
    m[c] = _mm512_shuffle_i32x4(low0, high0, 0x88);
    m[c + 4] = _mm512_shuffle_i32x4(low1, high1, 0x88);
    m[c + 8] = _mm512_shuffle_i32x4(low0, high0, 0xdd);
    m[c + 12] = _mm512_shuffle_i32x4(low1, high1, 0xdd);
  }
}

}  // namespace salebench::cpu
HWY_POP_ATTRIBUTES
