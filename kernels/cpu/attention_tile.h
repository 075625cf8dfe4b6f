// One task of the attention kernel: a tile of query rows of one head against a list of key panels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/cpu/packed.h"

namespace salebench::cpu {

/// The key panels that a tile of query rows reads, and which keys each of its query blocks keeps there.
struct PanelVisits {
  int q_blocks = 1;         ///< query blocks of the mask in the tile; several where they are lower than a tile
  std::vector<int> panels;  ///< those that any of the query blocks keeps a key of, ascending
  /// [all panels, q_blocks]: bit j says whether key 32 panel + j is in a kept tile. Only those of `panels` mean
  /// anything.
  std::vector<std::uint32_t> lanes;

  const std::uint32_t* lanes_of(int panel) const { return &lanes[std::size_t(panel) * q_blocks]; }

  /// Forgets all visits; the next ones are of panels with keys below `key_end`.
  void start(int blocks, int key_end) {
    q_blocks = blocks;
    panels.clear();
    lanes.resize(std::size_t(round_up(std::max(0, key_end), kPanelKeys) / kPanelKeys) * q_blocks);
  }
  /// The lanes of a panel, none of them kept unless it is the one added last. Panels come in ascending order.
  std::uint32_t* visit(int panel) {
    std::uint32_t* const kept = &lanes[std::size_t(panel) * q_blocks];
    if (panels.empty() || panels.back() != panel) {
      panels.push_back(panel);
      std::fill_n(kept, q_blocks, 0u);
    }
    return kept;
  }
};

inline constexpr std::uint32_t kAllLanes = 0xffffffffu;

/// The lanes below `count`, which may be out of range.
inline std::uint32_t lanes_below(int count) {
  return count >= kPanelKeys ? kAllLanes : count <= 0 ? 0u : (1u << count) - 1;
}

/// Which part of the attention map a row may see, on top of the kept lanes.
struct RowLimits {
  int first_position = 0;  ///< token position of the tile's first row
  int step = 1;            ///< positions from a row to the next; a window needs 1
  bool causal = true;
  int kv_len = 0;
  int sink = 0, local = 0;  ///< see Window
  int windowed_rows = 0;    ///< how many rows of the tile, from the first, the window narrows
  int sliding_window = 0;   ///< of the problem, see HostProblem

  int key_begin(int row) const { return first_key_in_window(first_position + row * step, sliding_window); }
  int key_end(int row) const { return causal ? first_position + row * step + 1 : kv_len; }

  /// Those of the 32 keys from `first` on that a row sees.
  std::uint32_t seen(int row, int first) const {
    std::uint32_t keys = lanes_below(std::min(key_end(row), kv_len) - first) & ~lanes_below(key_begin(row) - first);
    if (row < windowed_rows) keys &= lanes_below(sink - first) | ~lanes_below(first_position + row - local + 1 - first);
    return keys;
  }
  /// Whether a window hides some of the 32 keys from `first` on from the last of the first `rows` windowed rows, which
  /// sees the fewest of the early keys.
  bool window_hides(int rows, int first) const {
    return rows > 0 && first + kPanelKeys > sink && first_position + rows - 1 - first >= local;
  }
};

/// Rows of one head, the keys that they see, and where their results go, for any kernel.
struct RowTask {
  int rows = 0, dim = 0;
  const PanelVisits* visits = nullptr;
  int block_rows = 0;  ///< rows of a query block: row r follows the lanes of query block r / block_rows
  RowLimits limits;
  float* output = nullptr;  ///< [rows, head_dim], or null for the log-sum-exp alone
  float* lse = nullptr;     ///< [rows]
};

struct TileTask : RowTask {
  bool e4m3_weights = false;
  const float* q = nullptr;  ///< [rows padded, head_dim], at most kRowTile, already times scale * log2(e)
  const PackedHead* kv = nullptr;
};

/// Buffers that a thread reuses from task to task.
struct TileWorkspace {
  std::vector<float> queries, scores, sums;
};

void attend_tile(const TileTask& task, TileWorkspace& work);

}  // namespace salebench::cpu
