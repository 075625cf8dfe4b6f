// One task of the attention kernel: a tile of query rows of one head against a list of key panels.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/cpu/packed.h"

namespace salebench::cpu {

/// A panel to visit: bit j of lanes says whether key 32 panel + j is in a kept tile.
struct PanelVisit {
  int panel = 0;
  std::uint32_t lanes = 0xffffffffu;
};

/// Which part of the attention map a row may see, on top of the kept lanes.
struct RowLimits {
  int first_position = 0;  ///< token position of the tile's first row
  bool causal = true;
  int kv_len = 0;
  int sink = 0, local = 0;  ///< see Window
  int windowed_rows = 0;    ///< how many rows of the tile, from the first, the window narrows

  int key_end(int row) const { return causal ? first_position + row + 1 : kv_len; }
};

struct TileTask {
  const float* q = nullptr;  ///< [rows padded, head_dim], already times scale * log2(e)
  int rows = 0, dim = 0;
  const PackedHead* kv = nullptr;
  const std::vector<PanelVisit>* visits = nullptr;
  RowLimits limits;
  float* output = nullptr;  ///< [rows, head_dim], or null for the log-sum-exp alone
  float* lse = nullptr;     ///< [rows]
};

/// Buffers that a thread reuses from task to task.
struct TileWorkspace {
  std::vector<float> queries, scores, sums;
  std::vector<PanelVisit> visits;
};

void attend_tile(const TileTask& task, TileWorkspace& work);

}  // namespace salebench::cpu
