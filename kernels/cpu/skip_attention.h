// Attention that decides tile by tile, once a tile's scores are known, whether its softmax and its product with V are
// worth computing: the rule of BLASST (arXiv 2512.12087) and of SpargeAttn's second stage (arXiv 2502.18137).
#pragma once

#include <span>

#include "core/block_mask.h"
#include "core/problem.h"

namespace salebench::cpu {

/// A group of query rows skips a tile if no row's largest score there comes near that row's largest score so far:
///   max over the group's rows of (maximum in the tile - running maximum) < reach, in log2 units of the softmax.
/// A row that has seen no key yet always wants its tile; a row that sees none of the tile's keys has no say.
struct SkipRule {
  std::span<const float> reach;  ///< [q_heads], at most 0; -inf skips nothing
  int group_rows = 128;          ///< rows that decide together, a multiple of 8
  bool descending = false;       ///< visits tiles from the latest keys to the first, not from the first on
  int always_last = 0;           ///< that many tiles at the end of each visit are computed whatever their scores
};

/// Attention over the kept tiles of a mask, less those that the rule skips. Tiles are at most 128 rows by a multiple of
/// 32 keys, without a window. Adds to `computed`, if given, the tiles that any group computed. An empty out.lse asks
/// for those alone.
void skip_attention(const HostProblem& problem, ConstMaskView mask, const SkipRule& rule, AttentionView out,
                    MaskView* computed = nullptr);

}  // namespace salebench::cpu
