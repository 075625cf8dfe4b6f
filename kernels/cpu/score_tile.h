// Float scores of a row tile against key panels, reduced on the fly: by tile mass, or against a threshold.
#pragma once

#include <vector>

#include "kernels/cpu/attention_tile.h"

namespace salebench::cpu {

struct ScoreTask {
  const float* q = nullptr;  ///< [rows padded, head_dim], already times the factor of the scores wanted
  int rows = 0, dim = 0;
  const PackedHead* kv = nullptr;
  RowLimits limits;
  const float* row_value = nullptr;  ///< [rows]: what a row's scores are compared with
};

/// key_mass[key] += sum over rows of 2^(score - row_value) for the visible keys below key_end.
void add_key_mass(const ScoreTask& task, int key_end, float* key_mass);

/// reached[i] becomes true if any score of panel begin + i is at least its row's value. No masking: all keys of the
/// panels must be visible to all rows.
void panels_reach(const ScoreTask& task, int begin, int end, std::vector<bool>& reached);

}  // namespace salebench::cpu
