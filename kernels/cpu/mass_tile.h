// True attention mass of a few query rows on chosen keys of one panel, in double precision.
#pragma once

#include <cstdint>

#include "kernels/cpu/packed.h"

namespace salebench::cpu {

inline constexpr int kMassRows = 4;  ///< rows of a MassTask are padded to a multiple of this

/// Query rows of one head against one panel of keys.
struct MassTask {
  const double* q = nullptr;  ///< [rows padded, head_dim], already times scale
  int rows = 0, dim = 0;
  const float* keys = nullptr;            ///< a panel, [head_dim, 32]
  const std::uint32_t* wanted = nullptr;  ///< [rows padded]: bit j asks for key j of the panel
  const double* lse = nullptr;            ///< [rows padded], exact
};

/// mass[row] += sum over the wanted keys of exp(q . k - lse).
void add_mass(const MassTask& task, double* mass);

}  // namespace salebench::cpu
