#include "kernels/cpu/amx/pack.h"

#include <immintrin.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "hwy/base.h"
#include "kernels/cpu/amx/transpose.h"

HWY_PUSH_ATTRIBUTES("avx512f,avx512bw,avx512dq,avx512vl")
namespace salebench::cpu {
namespace {

constexpr int kTileRows = 16;

/// The bits of the nearest bfloat16, ties away from zero, in the upper half of each lane.
inline __m512i upper_half(__m512 x) {
  const __m512i rounded = _mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x8000));
  return _mm512_and_si512(rounded, _mm512_set1_epi32(int(0xffff0000u)));
}

/// Takes the largest bfloat16 part off x.
inline __m512i split_off(__m512& x) {
  const __m512i part = upper_half(x);
  x = _mm512_sub_ps(x, _mm512_castsi512_ps(part));
  return part;
}

/// 16 floats from `column` on of a row of `dim`, zero beyond it.
inline __m512 load_columns(const float* row, int column, int dim) {
  const int left = std::clamp(dim - column, 0, 16);
  return _mm512_maskz_loadu_ps(__mmask16((1u << left) - 1), row + (left > 0 ? column : 0));
}

/// 32 bfloat16 parts of one row, in channel order.
inline __m512i row_part(__m512& low, __m512& high) {
  const __m256i first = _mm512_cvtepi32_epi16(_mm512_srli_epi32(split_off(low), 16));
  const __m256i second = _mm512_cvtepi32_epi16(_mm512_srli_epi32(split_off(high), 16));
  return _mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1);
}

void pack_panel_keys(const float* k, int keys, int dim, const AmxKeysValues& layout, std::byte* out) {
  std::memset(out, 0, layout.key_parts * layout.key_part_bytes());
  for (int step = 0; step < layout.depth_tiles; ++step)
    for (int j = 0; j < keys; ++j) {
      const float* const row = k + std::size_t(j) * dim;
      __m512 low = load_columns(row, step * kAmxDepth, dim), high = load_columns(row, step * kAmxDepth + 16, dim);
      std::byte* const at = out + (2 * step + j / kTileRows) * kTileBytes + j % kTileRows * 64;
      for (int part = 0; part < layout.key_parts; ++part)
        _mm512_store_si512(at + part * layout.key_part_bytes(), row_part(low, high));
    }
}

void pack_panel_values(const float* v, int keys, int dim, const AmxKeysValues& layout, std::byte* out) {
  for (int tile = 0; tile < 2 * layout.depth_tiles; ++tile) {
    __m512i pairs[kAmxValueParts][16];
    for (int pair = 0; pair < 16; ++pair) {
      const auto load = [&](int j) {
        return j < keys ? load_columns(v + std::size_t(j) * dim, tile * 16, dim) : _mm512_setzero_ps();
      };
      __m512 even = load(2 * pair), odd = load(2 * pair + 1);
      for (int part = 0; part < layout.value_parts; ++part)
        pairs[part][pair] = _mm512_or_si512(_mm512_srli_epi32(split_off(even), 16), split_off(odd));
    }
    for (int part = 0; part < layout.value_parts; ++part) {
      transpose16(pairs[part]);
      std::byte* const at = out + part * layout.value_part_bytes() + tile * kTileBytes;
      for (int channel = 0; channel < 16; ++channel) _mm512_store_si512(at + channel * 64, pairs[part][channel]);
    }
  }
}

}  // namespace

int bfloat16_parts(const float* x, std::size_t size, int most) {
  const auto load = [&](std::size_t i) {
    return _mm512_maskz_loadu_ps(__mmask16((1u << std::min<std::size_t>(16, size - i)) - 1), x + i);
  };
  std::size_t begin = 0;  // of what more than one part holds
  const __m512i low_half = _mm512_set1_epi32(0xffff);
  while (begin < size && !_mm512_test_epi32_mask(_mm512_castps_si512(load(begin)), low_half)) begin += 16;
  __m512i second = _mm512_setzero_si512(), third = second;
  for (std::size_t i = begin; i < size; i += 16) {
    __m512 value = load(i);
    split_off(value);
    second = _mm512_or_si512(second, _mm512_castps_si512(value));
    split_off(value);
    third = _mm512_or_si512(third, _mm512_castps_si512(value));
  }
  const int parts = _mm512_test_epi32_mask(third, third) ? 3 : _mm512_test_epi32_mask(second, second) ? 2 : 1;
  return std::min(parts, most);
}

void pack_query_group(const float* q, int rows, int dim, int parts, std::byte* out) {
  const int depth_tiles = round_up(dim, kAmxDepth) / kAmxDepth;
  for (int step = 0; step < depth_tiles; ++step)
    for (int half = 0; half < 2; ++half) {
      __m512i channels[kAmxKeyParts][16];
      for (int r = 0; r < 16; ++r) {
        const int row = half * 16 + r;
        const float* const at = q + std::size_t(row) * dim;
        __m512 low = row < rows ? load_columns(at, step * kAmxDepth, dim) : _mm512_setzero_ps();
        __m512 high = row < rows ? load_columns(at, step * kAmxDepth + 16, dim) : _mm512_setzero_ps();
        for (int part = 0; part < parts; ++part) channels[part][r] = row_part(low, high);
      }
      for (int part = 0; part < parts; ++part) {
        transpose16(channels[part]);
        std::byte* const at = out + ((std::size_t(part) * depth_tiles + step) * 2 + half) * kTileBytes;
        for (int pair = 0; pair < 16; ++pair) _mm512_store_si512(at + pair * 64, channels[part][pair]);
      }
    }
}

void unpack_output_group(const float* sums, const float* factor, int rows, int dim, float* out) {
  for (int half = 0; half < 2 && half * 16 < rows; ++half) {
    const __m512 scale = _mm512_loadu_ps(factor + half * 16);
    for (int channel = 0; channel < dim; channel += 16) {
      __m512i m[16];
      for (int i = 0; i < 16; ++i)
        m[i] = _mm512_castps_si512(
            _mm512_mul_ps(_mm512_load_ps(sums + std::size_t(channel + i) * kAmxGroup + half * 16), scale));
      transpose16(m);
      const auto mask = __mmask16((1u << std::min(16, dim - channel)) - 1);
      for (int r = 0; r < std::min(16, rows - half * 16); ++r)
        _mm512_mask_storeu_ps(out + std::size_t(half * 16 + r) * dim + channel, mask, _mm512_castsi512_ps(m[r]));
    }
  }
}

}  // namespace salebench::cpu
HWY_POP_ATTRIBUTES

namespace salebench::cpu {
namespace {

struct Parts {
  int keys = 1, values = 1;
};

/// Packs all panels to keys and, unless null, to values, in as many parts as `layout` says. Returns how many they need.
Parts pack_panels(const HostProblem& p, const AmxKeysValues& layout, std::byte* keys, std::byte* values) {
  const int dim = p.shape.head_dim;
  int key_parts = 1, value_parts = 1;
#pragma omp parallel for collapse(2) reduction(max : key_parts, value_parts)
  for (int h = 0; h < p.shape.kv_heads; ++h)
    for (int panel = 0; panel < layout.panels; ++panel) {
      const int first = panel * kPanelKeys, count = std::min(kPanelKeys, p.shape.kv_len - first);
      const std::size_t at = std::size_t(h) * layout.panels + panel, size = std::size_t(count) * dim;
      const float* const k = p.k_head(h) + std::size_t(first) * dim;
      key_parts = std::max(key_parts, bfloat16_parts(k, size, kAmxKeyParts));
      pack_panel_keys(k, count, dim, layout, keys + at * layout.key_parts * layout.key_part_bytes());
      if (!values) continue;
      const float* const v = p.v_head(h) + std::size_t(first) * dim;
      value_parts = std::max(value_parts, bfloat16_parts(v, size, kAmxValueParts));
      pack_panel_values(v, count, dim, layout, values + at * layout.value_parts * layout.value_part_bytes());
    }
  return {key_parts, value_parts};
}

}  // namespace

void pack_keys_values(const HostProblem& p, bool with_values, AmxKeysValues& packed) {
  const std::size_t first_panel = std::size_t(std::min(kPanelKeys, p.shape.kv_len)) * p.shape.head_dim;
  packed.depth_tiles = round_up(p.shape.head_dim, kAmxDepth) / kAmxDepth;
  packed.panels = round_up(p.shape.kv_len, kPanelKeys) / kPanelKeys;
  // What the first panel needs is mostly what all need; if not, they are packed again.
  Parts needed = {bfloat16_parts(p.k_head(0), first_panel, kAmxKeyParts),
                  with_values ? bfloat16_parts(p.v_head(0), first_panel, kAmxValueParts) : 1};
  do {
    packed.key_parts = needed.keys, packed.value_parts = needed.values;
    const std::size_t panels = std::size_t(p.shape.kv_heads) * packed.panels;
    std::byte* const keys = packed.keys.reserve(panels * packed.key_parts * packed.key_part_bytes());
    std::byte* const values =
        with_values ? packed.values.reserve(panels * packed.value_parts * packed.value_part_bytes()) : nullptr;
    needed = pack_panels(p, packed, keys, values);
  } while (needed.keys > packed.key_parts || needed.values > packed.value_parts);
}

}  // namespace salebench::cpu
