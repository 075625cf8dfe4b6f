// Which keys of a panel the rows of a group see.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/cpu/amx/attention.h"
#include "kernels/cpu/amx/pack.h"

namespace salebench::cpu {

/// Of each of 32 rows, which of a panel's keys it sees.
struct SeenKeys {
  alignas(64) std::uint32_t rows[kAmxGroup];
  bool all = true;
};

/// Rows that pad the task see every key, as their scores are 0 and need no care.
inline SeenKeys seen_keys(const AmxTask& task, int group, int panel) {
  SeenKeys seen;
  const RowLimits& limits = task.limits;
  const int first = panel * kPanelKeys;
  const std::uint32_t* const lanes = task.visits->lanes_of(panel);
  for (int i = 0; i < kAmxGroup; ++i) {
    const int r = group * kAmxGroup + i;
    std::uint32_t keys = kAllLanes;
    if (r < task.rows) keys = lanes[r / task.block_rows] & limits.seen(r, first);
    seen.rows[i] = keys;
    seen.all = seen.all && keys == kAllLanes;
  }
  return seen;
}

/// What all rows of a group have in common.
struct GroupLimits {
  int visits = 0;                       ///< how many of the task's visits have keys below the last row's end
  int first_block = 0, last_block = 0;  ///< query blocks of its rows
  int open_panels = 0;                  ///< panels that each row sees up to the end, but for a window
  int first_open_key = 0;               ///< from here on no row is cut short by the sliding window
  int windowed_rows = 0;                ///< rows of the task up to the last of the group that the window narrows
};

inline GroupLimits group_limits(const AmxTask& task, int group) {
  const RowLimits& limits = task.limits;
  const int begin = group * kAmxGroup, end = std::min(task.rows, begin + kAmxGroup);
  const std::vector<int>& panels = task.visits->panels;
  const int end_panel = round_up(std::max(0, limits.key_end(end - 1)), kPanelKeys) / kPanelKeys;
  GroupLimits group_limits;
  group_limits.visits = int(std::lower_bound(panels.begin(), panels.end(), end_panel) - panels.begin());
  group_limits.first_block = begin / task.block_rows, group_limits.last_block = (end - 1) / task.block_rows;
  group_limits.first_open_key = limits.key_begin(end - 1);
  group_limits.open_panels = std::min(limits.key_end(begin), limits.kv_len) / kPanelKeys;
  group_limits.windowed_rows = limits.windowed_rows > begin ? std::min(limits.windowed_rows, end) : 0;
  return group_limits;
}

/// Whether some row of the group may not see all keys of the panel.
inline bool may_need_mask(const AmxTask& task, const GroupLimits& group, int panel) {
  if (panel >= group.open_panels || panel * kPanelKeys < group.first_open_key) return true;
  const std::uint32_t* const lanes = task.visits->lanes_of(panel);
  for (int block = group.first_block; block <= group.last_block; ++block)
    if (lanes[block] != kAllLanes) return true;
  return task.limits.window_hides(group.windowed_rows, panel * kPanelKeys);
}

}  // namespace salebench::cpu
