// Integer scan of a row tile's codes against key panels.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/cpu/sale_quantize.h"

namespace salebench::cpu {

struct CodeTask {
  const SaleCodes* codes = nullptr;
  int q_head = 0, kv_head = 0;
  int q_len = 0;
  int row_begin = 0, rows = 0;        ///< at most kRowTile rows
  const float* thresholds = nullptr;  ///< [rows], unscaled logit units
  std::span<std::uint8_t> reached;    ///< of each tile
};

/// Buffers that a thread reuses from task to task.
struct CodeWorkspace {
  std::vector<std::int32_t> queries;
};

/// reached[t] becomes 1 if any estimated logit of tile t is at least its row's threshold. Tile t is made of
/// `tile_panels` panels, from first_panel + t * tile_panels on; tiles that are reached already are skipped.
void codes_reach(const CodeTask& task, int first_panel, int tile_panels, CodeWorkspace& work);

}  // namespace salebench::cpu
