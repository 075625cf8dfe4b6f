// Compiled once per instruction set and chosen at run time.
#include "kernels/cpu/mass_tile.h"

#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/mass_tile.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// After foreach_target.h, as they include this file again for each target.
#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace salebench::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DoubleTag = hn::CappedTag<double, 8>;
using DoubleVec = hn::Vec<DoubleTag>;

/// Sum of exp(score - lse) over the lanes whose bit of `wanted` is set.
HWY_INLINE double wanted_mass(DoubleVec score, double lse, std::uint32_t wanted) {
  const DoubleTag d;
  std::uint8_t bits[8] = {};  // what LoadMaskBits reads at least
  std::memcpy(bits, &wanted, sizeof(wanted));
  const DoubleVec probability = hn::Exp(d, hn::Sub(score, hn::Set(d, lse)));
  return hn::GetLane(hn::SumOfLanes(d, hn::IfThenElseZero(hn::LoadMaskBits(d, bits), probability)));
}

void AddMass(const MassTask& task, double* mass) {
  const DoubleTag d;
  const hn::Rebind<float, DoubleTag> df;
  const int lanes = int(hn::Lanes(d));
  for (int row = 0; row < task.rows; row += kMassRows) {
    const std::uint32_t* const wanted = task.wanted + row;
    const std::uint32_t any = wanted[0] | wanted[1] | wanted[2] | wanted[3];
    const double* const q = task.q + std::size_t(row) * task.dim;
    for (int j = 0; j < kPanelKeys; j += lanes) {
      if ((any >> j & ((std::uint64_t(1) << lanes) - 1)) == 0) continue;
      DoubleVec sum[kMassRows];
      for (DoubleVec& s : sum) s = hn::Zero(d);
      for (int c = 0; c < task.dim; ++c) {
        const DoubleVec keys = hn::PromoteTo(d, hn::LoadU(df, task.keys + std::size_t(c) * kPanelKeys + j));
        for (int r = 0; r < kMassRows; ++r)
          sum[r] = hn::MulAdd(hn::Set(d, q[std::size_t(r) * task.dim + c]), keys, sum[r]);
      }
      for (int r = 0; r < kMassRows; ++r)
        if (row + r < task.rows) mass[row + r] += wanted_mass(sum[r], task.lse[row + r], wanted[r] >> j);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace salebench::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace salebench::cpu {
HWY_EXPORT(AddMass);

void add_mass(const MassTask& task, double* mass) {
  HWY_DYNAMIC_DISPATCH(AddMass)(task, mass);
}

}  // namespace salebench::cpu
#endif
