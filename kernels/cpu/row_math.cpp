#include "kernels/cpu/row_math.h"

#include <algorithm>
#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/row_math.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.h, as it includes this file again for each target.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace salebench::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using RowTag = hn::CappedTag<float, 16>;

float LargestDifference(const float* x, const float* mean, int dim) {
  const RowTag d;
  const int lanes = int(hn::Lanes(d));
  auto most = hn::Zero(d);
  int i = 0;
  for (; i + lanes <= dim; i += lanes)
    most = hn::Max(most, hn::Abs(hn::Sub(hn::LoadU(d, x + i), hn::LoadU(d, mean + i))));
  float result = hn::GetLane(hn::MaxOfLanes(d, most));
  for (; i < dim; ++i) result = std::max(result, std::fabs(x[i] - mean[i]));
  return result;
}

void EncodeRow(const float* x, const float* mean, int dim, float inverse_scale, std::int8_t* codes) {
  const RowTag d;
  const hn::Rebind<std::int8_t, RowTag> d8;
  const int lanes = int(hn::Lanes(d));
  const auto factor = hn::Set(d, inverse_scale);
  int i = 0;
  for (; i + lanes <= dim; i += lanes) {
    const auto scaled = hn::Mul(hn::Sub(hn::LoadU(d, x + i), hn::LoadU(d, mean + i)), factor);
    hn::StoreU(hn::DemoteTo(d8, hn::NearestInt(scaled)), d8, codes + i);
  }
  for (; i < dim; ++i) codes[i] = std::int8_t(std::nearbyint((x[i] - mean[i]) * inverse_scale));
}

void AddRows(const float* x, int rows, int dim, double* sums) {
  const hn::CappedTag<double, 8> d;
  const hn::Rebind<float, hn::CappedTag<double, 8>> half;
  const int lanes = int(hn::Lanes(d));
  for (int row = 0; row < rows; ++row, x += dim) {
    int i = 0;
    for (; i + lanes <= dim; i += lanes)
      hn::StoreU(hn::Add(hn::LoadU(d, sums + i), hn::PromoteTo(d, hn::LoadU(half, x + i))), d, sums + i);
    for (; i < dim; ++i) sums[i] += x[i];
  }
}

void RowDots(const float* x, int rows, int dim, const float* y, float* out) {
  const RowTag d;
  const int lanes = int(hn::Lanes(d));
  for (int row = 0; row < rows; ++row, x += dim) {
    auto sum = hn::Zero(d);
    int i = 0;
    for (; i + lanes <= dim; i += lanes) sum = hn::MulAdd(hn::LoadU(d, x + i), hn::LoadU(d, y + i), sum);
    out[row] = hn::GetLane(hn::SumOfLanes(d, sum));
    for (; i < dim; ++i) out[row] += x[i] * y[i];
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace salebench::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace salebench::cpu {
HWY_EXPORT(LargestDifference);
HWY_EXPORT(EncodeRow);
HWY_EXPORT(AddRows);
HWY_EXPORT(RowDots);

float largest_difference(const float* x, const float* mean, int dim) {
  return HWY_DYNAMIC_DISPATCH(LargestDifference)(x, mean, dim);
}
void encode_row(const float* x, const float* mean, int dim, float inverse_scale, std::int8_t* codes) {
  HWY_DYNAMIC_DISPATCH(EncodeRow)(x, mean, dim, inverse_scale, codes);
}
void add_rows(const float* x, int rows, int dim, double* sums) {
  HWY_DYNAMIC_DISPATCH(AddRows)(x, rows, dim, sums);
}
void row_dots(const float* x, int rows, int dim, const float* y, float* out) {
  HWY_DYNAMIC_DISPATCH(RowDots)(x, rows, dim, y, out);
}

}  // namespace salebench::cpu
#endif
