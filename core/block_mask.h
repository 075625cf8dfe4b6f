// Block masks: which tiles of the attention map a method keeps, one bit per (query head, query block, key block).
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/problem.h"
#include "core/row_set.h"

namespace salebench {

/// Tile size in tokens: q query rows by k keys.
struct BlockSize {
  int q = 64;
  int k = 64;
  bool operator==(const BlockSize&) const = default;
};

/// Tile sizes on offer where one is chosen; the text is rows x keys.
inline const std::vector<std::string> kBlockChoices = {"64x32", "64x64", "128x32", "128x64", "128x128"};

/// "64x32" to {64, 32}. Throws std::invalid_argument for a text that is not one of kBlockChoices.
BlockSize parse_block(const std::string& text);
/// The same choices with their tiles.
std::vector<std::pair<std::string, BlockSize>> block_choices();

/// Token-exact refinement inside kept tiles: key j of the row at position p counts only if j < sink or p - j < local,
/// or if the row is one of the last `dense_rows` of the problem.
struct Window {
  int sink = 0;
  int local = 0;
  int dense_rows = 0;
  bool operator==(const Window&) const = default;
};

/// How the attention map of one problem is cut into tiles. Lengths need not be multiples of the block size.
struct BlockGrid {
  BlockSize block;
  int q_len = 0;
  int kv_len = 0;
  bool causal = true;
  std::optional<Window> window;  ///< of the method
  int sliding_window = 0;        ///< of the problem, as in HostProblem

  int q_blocks() const { return (q_len + block.q - 1) / block.q; }
  int k_blocks() const { return (kv_len + block.k - 1) / block.k; }
  int words() const { return (k_blocks() + 31) / 32; }  ///< 32-bit words per row of tiles
  int q_begin(int q_block) const { return q_block * block.q; }
  int q_end(int q_block) const { return std::min(q_len, (q_block + 1) * block.q); }
  int k_begin(int k_block) const { return k_block * block.k; }
  int k_end(int k_block) const { return std::min(kv_len, (k_block + 1) * block.k); }

  int position(int row) const { return kv_len - q_len + row; }
  /// The problem's visible keys of a row are [key_begin(row), key_end(row)).
  int key_begin(int row) const { return first_key_in_window(position(row), sliding_window); }
  int key_end(int row) const { return causal ? position(row) + 1 : kv_len; }
  /// The first key block that any row of the query block may see: 0 but for a sliding window.
  int visible_begin(int q_block) const { return key_begin(q_begin(q_block)) / block.k; }
  /// The first key block from which on no row of the query block is cut short by a sliding window.
  int uncut_begin(int q_block) const { return (key_begin(q_end(q_block) - 1) + block.k - 1) / block.k; }
  /// One past the last key block that any row of the query block may see.
  int causal_end(int q_block) const { return (key_end(q_end(q_block) - 1) + block.k - 1) / block.k; }
  int visible_blocks(int q_block) const { return causal_end(q_block) - visible_begin(q_block); }
  /// The first key block that holds the own token of a row of the query block; the last is diagonal_end() - 1.
  int diagonal_begin(int q_block) const { return position(q_begin(q_block)) / block.k; }
  int diagonal_end(int q_block) const { return position(q_end(q_block) - 1) / block.k + 1; }

  /// Whether the window narrows what the row sees.
  bool windowed(int row) const { return window && row < q_len - window->dense_rows; }
  /// Whether the row may see the key, were its tile kept.
  bool visible(int row, int key) const {
    return key >= key_begin(row) && key < key_end(row) &&
           (!windowed(row) || key < window->sink || position(row) - key < window->local);
  }
  /// Number of visible (row, key) pairs in a tile, over the rows of a set.
  std::int64_t tile_tokens(int q_block, int k_block, const RowSet& rows = {}) const;
  /// Number of (row, key) pairs that dense attention computes for the rows of a set, per head.
  std::int64_t dense_tokens(const RowSet& rows = {}) const;
};

/// View of a mask, [heads, q_blocks, words]: bit b of word w is key block 32 w + b. Word is std::uint32_t or const.
template <class Word>
struct BasicMaskView {
  BlockGrid grid;
  int heads = 0;
  Word* bits = nullptr;

  Word* row(int head, int q_block) const {
    return bits + (std::size_t(head) * grid.q_blocks() + q_block) * grid.words();
  }
  bool kept(int head, int q_block, int k_block) const {
    return row(head, q_block)[k_block / 32] >> (k_block % 32) & 1u;
  }
  void keep(int head, int q_block, int k_block) const requires(!std::is_const_v<Word>) {
    row(head, q_block)[k_block / 32] |= 1u << (k_block % 32);
  }
  /// Keeps key blocks [begin, end).
  void keep_range(int head, int q_block, int begin, int end) const requires(!std::is_const_v<Word>) {
    for (int kb = begin; kb < end; ++kb) keep(head, q_block, kb);
  }
  operator BasicMaskView<const Word>() const { return {grid, heads, bits}; }  // NOLINT(google-explicit-constructor)
};

using MaskView = BasicMaskView<std::uint32_t>;
using ConstMaskView = BasicMaskView<const std::uint32_t>;

/// A mask that owns its bits; nothing is kept at first.
class BlockMask {
 public:
  BlockMask(const BlockGrid& grid, int heads)
      : grid_(grid), heads_(heads), bits_(std::size_t(heads) * grid.q_blocks() * grid.words()) {}

  MaskView view() { return {grid_, heads_, bits_.data()}; }
  ConstMaskView view() const { return {grid_, heads_, bits_.data()}; }
  std::span<std::uint32_t> bits() { return bits_; }
  std::span<const std::uint32_t> bits() const { return bits_; }
  void clear() { std::fill(bits_.begin(), bits_.end(), 0u); }

 private:
  BlockGrid grid_;
  int heads_;
  std::vector<std::uint32_t> bits_;
};

/// Counts of what a mask keeps in one head, over all rows or a part of them. A tile counts if any of its rows does.
struct MaskCounts {
  std::int64_t tiles = 0;            ///< kept tiles
  std::int64_t causal_tiles = 0;     ///< tiles that dense attention would visit
  std::int64_t tokens = 0;           ///< visible (row, key) pairs in kept tiles
  std::int64_t dense_tokens = 0;     ///< (row, key) pairs that dense attention computes
  std::int64_t executed_tokens = 0;  ///< (row, key) pairs in kept tiles, masked ones included

  void add(const MaskCounts& other) {
    tiles += other.tiles;
    causal_tiles += other.causal_tiles;
    tokens += other.tokens;
    dense_tokens += other.dense_tokens;
    executed_tokens += other.executed_tokens;
  }
};
MaskCounts count_mask(ConstMaskView mask, int head, const RowSet& rows = {});

}  // namespace salebench
