// Float scores of a row tile against key panels, reduced on the fly: to mass or peak of a key, by tile, against a
// threshold, or to a log-sum-exp.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/cpu/attention_tile.h"

namespace salebench::cpu {

struct ScoreTask {
  const float* q = nullptr;  ///< [rows padded, head_dim], already times the factor of the scores wanted
  int rows = 0, dim = 0;
  const PackedHead* kv = nullptr;
  RowLimits limits;
  const float* row_value = nullptr;  ///< [rows]: what a row's scores are compared with
  const float* key_bias = nullptr;   ///< [keys, whole panels]: added to a key's scores by tiles_reach; null for none
};

/// key_mass[key] += sum over rows of 2^(score - row_value) for the visible keys below key_end.
void add_key_mass(const ScoreTask& task, int key_end, float* key_mass);

/// key_peak[key] becomes the largest 2^(score - row_value) of a row that sees the key, if larger than it was.
void raise_key_peak(const ScoreTask& task, int key_end, float* key_peak);

/// reached[t] becomes 1 if any score of tile t is at least its row's value. Tile t is made of `tile_panels` panels,
/// from first_panel + t * tile_panels on; tiles that are reached already are skipped. No masking: all keys of the
/// panels must be visible to all rows.
void tiles_reach(const ScoreTask& task, int first_panel, int tile_panels, std::span<std::uint8_t> reached);

/// Adds the keys of a panel to the log-sum-exp of each row, base 2, from scores in base 2. All keys must be visible.
void add_to_lse(const ScoreTask& task, int panel, float* lse);

/// How the relative scores of a tile become one number.
enum class TileScore { max, mass };

inline constexpr int kPooledRows = 128;  ///< rows of a PooledTask at most: whole query blocks

/// Rows of several query blocks, `rows_per_block` each, against all keys before the middle's end of their block.
struct PooledTask {
  const float* q = nullptr;  ///< [rows padded, dim], in base-2 logit units
  int rows = 0, dim = 0, rows_per_block = 0;
  const PackedHead* keys = nullptr;
  int tile_keys = 0;               ///< keys of a tile: a power of two; a tile lies in one panel or fills several
  int tiles = 0;                   ///< row length of the result
  const int* key_end = nullptr;    ///< [blocks]: keys that a block needs
  const float* row_lse = nullptr;  ///< [rows], base 2: what a row's scores are relative to
};

/// out [blocks, tiles]: `max`, the largest score - row_lse of the tile; `mass`, the sum of 2^(score - row_lse). Tiles
/// beyond a block's key_end hold anything. out must be -inf, or 0 for mass, at first.
void tile_scores(const PooledTask& task, TileScore kind, float* out);

}  // namespace salebench::cpu
