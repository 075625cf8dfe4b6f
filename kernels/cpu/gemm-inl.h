// The register-blocked product under all float kernels, compiled once per instruction set.
#if defined(SALEBENCH_KERNELS_CPU_GEMM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SALEBENCH_KERNELS_CPU_GEMM_INL_H_
#undef SALEBENCH_KERNELS_CPU_GEMM_INL_H_
#else
#define SALEBENCH_KERNELS_CPU_GEMM_INL_H_
#endif

#include "hwy/highway.h"
#include "kernels/cpu/packed.h"

HWY_BEFORE_NAMESPACE();
namespace salebench::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::CappedTag<float, 16>;
using FloatVec = hn::Vec<FloatTag>;

// Rows of the register block: 2 columns of vectors a row must fit the register file with room for operands.
#if HWY_TARGET <= HWY_AVX3
constexpr int kBlockRows = 8;
#else
constexpr int kBlockRows = 4;
#endif

/// c[kRows, kVecs vectors] (+)= sum over blocks b of a[kRows, depth of b] x b[depth, kVecs vectors]. Row r of `a` is at
/// a + r * a_stride, and block i reads its columns [i * depth, (i + 1) * depth) against the rows of blocks[i].
template <int kRows, int kVecs, bool kAccumulate>
HWY_INLINE void gemm_block(const float* HWY_RESTRICT a, int a_stride, const float* const* blocks, int count, int depth,
                           int b_stride, float* HWY_RESTRICT c, int c_stride) {
  const FloatTag d;
  const int lanes = int(hn::Lanes(d));
  FloatVec sum[kRows][kVecs];
  for (int r = 0; r < kRows; ++r)
    for (int v = 0; v < kVecs; ++v) sum[r][v] = kAccumulate ? hn::LoadU(d, c + r * c_stride + v * lanes) : hn::Zero(d);
  for (int i = 0; i < count; ++i) {
    const float* HWY_RESTRICT b = blocks[i];
    const float* HWY_RESTRICT left = a + i * depth;
    for (int k = 0; k < depth; ++k) {
      FloatVec right[kVecs];
      for (int v = 0; v < kVecs; ++v) right[v] = hn::LoadU(d, b + std::size_t(k) * b_stride + v * lanes);
      for (int r = 0; r < kRows; ++r) {
        const FloatVec value = hn::Set(d, left[std::size_t(r) * a_stride + k]);
        for (int v = 0; v < kVecs; ++v) sum[r][v] = hn::MulAdd(value, right[v], sum[r][v]);
      }
    }
  }
  for (int r = 0; r < kRows; ++r)
    for (int v = 0; v < kVecs; ++v) hn::StoreU(sum[r][v], d, c + r * c_stride + v * lanes);
}

/// The same for `rows` rows (a multiple of kRowStep) and `columns` columns (a multiple of kLaneFloats).
template <bool kAccumulate>
HWY_INLINE void gemm(const float* a, int a_stride, const float* const* blocks, int count, int depth, int b_stride,
                     float* c, int c_stride, int rows, int columns) {
  const int lanes = int(hn::Lanes(FloatTag()));
  constexpr int kMaxBlocks = 32;
  const float* shifted[kMaxBlocks];
  for (int column = 0; column < columns;) {
    for (int i = 0; i < count; ++i) shifted[i] = blocks[i] + column;
    const bool pair = column + 2 * lanes <= columns;
    for (int row = 0; row < rows; row += kBlockRows) {
      const float* left = a + std::size_t(row) * a_stride;
      float* out = c + std::size_t(row) * c_stride + column;
      if (pair)
        gemm_block<kBlockRows, 2, kAccumulate>(left, a_stride, shifted, count, depth, b_stride, out, c_stride);
      else
        gemm_block<kBlockRows, 1, kAccumulate>(left, a_stride, shifted, count, depth, b_stride, out, c_stride);
    }
    column += pair ? 2 * lanes : lanes;
  }
}

/// Scores of a row tile against one panel of keys: s[rows, 32] at s_stride.
HWY_INLINE void panel_scores(const float* q, int rows, int dim, const float* panel, float* s, int s_stride) {
  gemm<false>(q, dim, &panel, 1, dim, kPanelKeys, s, s_stride, rows, kPanelKeys);
}

/// 2^x for x <= 0 to about 1e-7 relative; 0 below -126, so -inf gives exactly 0.
HWY_INLINE FloatVec exp2_nonpositive(FloatVec x) {
  const FloatTag d;
  const hn::RebindToSigned<FloatTag> di;
  const auto underflow = hn::Lt(x, hn::Set(d, -126.0f));
  x = hn::Max(x, hn::Set(d, -126.0f));
  const auto whole = hn::NearestInt(x);
  const FloatVec f = hn::Sub(x, hn::ConvertTo(d, whole));  // in [-0.5, 0.5]
  // Minimax polynomial of 2^f on [-0.5, 0.5], degree 6.
  FloatVec p = hn::Set(d, 1.5353362e-4f);
  p = hn::MulAdd(p, f, hn::Set(d, 1.3398874e-3f));
  p = hn::MulAdd(p, f, hn::Set(d, 9.6184373e-3f));
  p = hn::MulAdd(p, f, hn::Set(d, 5.5503324e-2f));
  p = hn::MulAdd(p, f, hn::Set(d, 2.4022648e-1f));
  p = hn::MulAdd(p, f, hn::Set(d, 6.9314720e-1f));
  p = hn::MulAdd(p, f, hn::Set(d, 1.0f));
  const auto scaled = hn::Add(hn::BitCast(di, p), hn::ShiftLeft<23>(whole));
  return hn::IfThenZeroElse(underflow, hn::BitCast(d, scaled));
}

}  // namespace HWY_NAMESPACE
}  // namespace salebench::cpu
HWY_AFTER_NAMESPACE();
#endif  // SALEBENCH_KERNELS_CPU_GEMM_INL_H_
