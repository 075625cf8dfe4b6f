// The attention map of a few rows, in memory: for statistics that need more of it than a tile's mass.
#pragma once

#include <cstddef>

#include "kernels/cpu/score_tile.h"

namespace salebench::cpu {

/// Probabilities of the task's rows: out[r * stride + j] for keys j below key_end, 0 where row r does not see key j.
/// The queries are times scale * log2(e), of any depth; row_value is not read. `out` has `rows` rounded up to kRowStep
/// rows, and stride is at least key_end rounded up to kPanelKeys.
void softmax_tile(const ScoreTask& task, int key_end, float* out, std::size_t stride);

}  // namespace salebench::cpu
