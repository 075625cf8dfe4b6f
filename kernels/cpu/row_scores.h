// Plain float scores of a few query rows against a run of key panels, and the largest score of each row.
#pragma once

#include "kernels/cpu/score_tile.h"

namespace salebench::cpu {

/// scores [rows rounded up to kRowStep, 32 (end - begin)] of query rows q [rows rounded up, dim] against key panels
/// [begin, end). Nothing is masked: lanes beyond the last key score 0.
void score_panels(const float* q, int rows, int dim, const PackedHead& keys, int begin, int end, float* scores);

/// row_max[r] becomes the larger of itself and the row's largest score over the keys of [begin, end) that it may see
/// by the task's limits. The task's row_value is not read.
void raise_row_max(const ScoreTask& task, int begin, int end, float* row_max);

}  // namespace salebench::cpu
