// Which keys of a panel the rows of a group see.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/amx_attention.h"

namespace salebench::cpu {

/// Of each of 32 rows, which of a panel's keys it sees.
struct SeenKeys {
  alignas(64) std::uint32_t rows[kAmxGroup];
  bool all = true;
};

inline constexpr std::uint32_t kAllLanes = 0xffffffffu;

/// The lanes below `count`, which may be out of range.
inline std::uint32_t lanes_below(int count) {
  return count >= kPanelKeys ? kAllLanes : count <= 0 ? 0u : (1u << count) - 1;
}

/// Rows that pad the task see every key, as their scores are 0 and need no care.
inline SeenKeys seen_keys(const AmxTask& task, int group, int panel) {
  SeenKeys seen;
  const RowLimits& limits = task.limits;
  const int first = panel * kPanelKeys;
  const std::uint32_t* const lanes = task.visits->lanes_of(panel);
  for (int i = 0; i < kAmxGroup; ++i) {
    const int r = group * kAmxGroup + i;
    std::uint32_t keys = kAllLanes;
    if (r < task.rows) {
      keys = lanes[r / task.block_rows] & lanes_below(std::min(limits.key_end(r), limits.kv_len) - first);
      if (r < limits.windowed_rows)
        keys &= lanes_below(limits.sink - first) | ~lanes_below(limits.first_position + r - limits.local + 1 - first);
    }
    seen.rows[i] = keys;
    seen.all = seen.all && keys == kAllLanes;
  }
  return seen;
}

/// Whether some row of the group may not see all keys of the panel.
inline bool may_need_mask(const AmxTask& task, int group, int panel) {
  const RowLimits& limits = task.limits;
  const int first = panel * kPanelKeys, end = first + kPanelKeys;
  const int begin_row = group * kAmxGroup, end_row = std::min(task.rows, begin_row + kAmxGroup);
  const std::uint32_t* const lanes = task.visits->lanes_of(panel);
  for (int block = begin_row / task.block_rows; block <= (end_row - 1) / task.block_rows; ++block)
    if (lanes[block] != kAllLanes) return true;
  if (end > limits.key_end(begin_row) || end > limits.kv_len) return true;
  const int last_windowed = std::min(limits.windowed_rows, end_row) - 1;
  return last_windowed >= begin_row && end > limits.sink &&
         limits.first_position + last_windowed - first >= limits.local;
}

}  // namespace salebench::cpu
