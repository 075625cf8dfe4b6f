// Asking for memory before it is wanted.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

#include "hwy/base.h"
#include "kernels/cpu/amx/attention.h"

HWY_PUSH_ATTRIBUTES("prfchw")
namespace salebench::cpu {

/// The lines of an array, a few asked for each turn, so that all are in the cache after `turns` of them.
template <bool kWrite>
class LinesAhead {
 public:
  /// begin: may be null for none.
  LinesAhead(const float* begin, std::size_t size, int turns)
      : at_(reinterpret_cast<const std::byte*>(begin)),
        end_(begin ? at_ + size * sizeof(float) : at_),
        per_turn_((end_ - at_) / std::max(1, turns) + kLine) {}
  void advance() {
    const std::byte* const stop = at_ + std::min(per_turn_, end_ - at_);
    for (; at_ < stop; at_ += kLine) __builtin_prefetch(at_, kWrite, kWrite ? 3 : 2);
  }

 private:
  static constexpr std::ptrdiff_t kLine = 64;
  const std::byte *at_, *end_;
  std::ptrdiff_t per_turn_;  // bytes
};

/// Half of the keys and of the values of visits `first` and `first` + 1: which half, the first two groups of a task
/// share out. Null for later groups, and beyond the last visit.
inline std::array<const std::byte*, 4> panels_ahead(const AmxTask& task, int group, int first) {
  const std::vector<int>& panels = task.visits->panels;
  if (group > 1 || first + 1 >= int(panels.size())) return {};
  const AmxKeysValues& kv = *task.kv;
  const std::size_t key_skip = group * kv.key_parts * kv.key_part_bytes() / 2;
  const std::size_t value_skip = group * kv.value_parts * kv.value_part_bytes() / 2;
  return {kv.panel_keys(task.kv_head, panels[first]) + key_skip,
          kv.panel_keys(task.kv_head, panels[first + 1]) + key_skip,
          kv.panel_values(task.kv_head, panels[first]) + value_skip,
          kv.panel_values(task.kv_head, panels[first + 1]) + value_skip};
}

}  // namespace salebench::cpu
HWY_POP_ATTRIBUTES
