// Relative scores of tiles from reduced operands: SALE's scan where rows and keys stand for several tokens.
#pragma once

#include <span>
#include <vector>

#include "core/block_mask.h"
#include "kernels/cpu/sale_scan.h"
#include "kernels/cpu/score_tile.h"

namespace salebench::cpu {

/// Operands of one head. The rows of query block b are [b rows_per_block, (b + 1) rows_per_block), the keys of key
/// block n are [n tile_keys, (n + 1) tile_keys).
struct ReducedOperands {
  int dim = 0, rows = 0, rows_per_block = 0;  ///< rows_per_block: at most kPooledRows, a power of two
  int keys = 0, tile_keys = 0;                ///< tile_keys: a power of two
  std::span<const float> q, k;                ///< [rows, dim], [keys, dim]
  std::span<const float> row_lse;             ///< [rows]: what the logits of a row are relative to, natural log
  float scale = 1;                            ///< of q . k
};

/// [q_blocks, k_blocks]: the natural log of a tile's largest relative score exp(scale q . k - row_lse), or of the mean
/// over its rows of their sum. Meaningful in ranges [q_blocks] only.
std::vector<float> reduced_tile_scores(const ReducedOperands& operands, TileScore kind, const BlockGrid& grid,
                                       std::span<const ScanRange> ranges);

}  // namespace salebench::cpu
