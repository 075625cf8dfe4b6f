// The largest product of a key with any of a few query rows.
#pragma once

#include <span>

#include "kernels/cpu/packed.h"

namespace salebench::cpu {

/// most[j] = maximum over the rows of q . key j, for the first most.size() keys, a multiple of kPanelKeys. q is
/// [rows padded to kRowStep, dim], 1 <= rows <= kRowTile; `dim` is that of the packed keys.
void key_max(const float* q, int rows, int dim, const PackedHead& keys, std::span<float> most);

}  // namespace salebench::cpu
