#include "core/block_mask.h"

#include <stdexcept>

namespace salebench {

BlockSize parse_block(const std::string& text) {
  if (std::ranges::find(kBlockChoices, text) == kBlockChoices.end())
    throw std::invalid_argument("'" + text + "' is not a tile size, such as 64x32");
  const std::size_t cross = text.find('x');
  return {std::stoi(text.substr(0, cross)), std::stoi(text.substr(cross + 1))};
}

std::vector<std::pair<std::string, BlockSize>> block_choices() {
  std::vector<std::pair<std::string, BlockSize>> choices;
  for (const std::string& text : kBlockChoices) choices.emplace_back(text, parse_block(text));
  return choices;
}

std::int64_t BlockGrid::tile_tokens(int q_block, int k_block, const RowSet& rows) const {
  const int k0 = k_begin(k_block), k1 = k_end(k_block);
  std::int64_t tokens = 0;
  for (int row = q_begin(q_block); row < q_end(q_block); ++row) {
    if (!rows.contains(row)) continue;
    const int begin = std::max(k0, key_begin(row)), end = std::min(k1, key_end(row));
    if (!windowed(row)) {
      tokens += std::max(0, end - begin);
      continue;
    }
    const int sink_end = std::min(end, window->sink);
    const int local_begin = std::max({begin, sink_end, position(row) - window->local + 1});
    tokens += std::max(0, sink_end - begin) + std::max(0, end - local_begin);
  }
  return tokens;
}

std::int64_t BlockGrid::dense_tokens(const RowSet& rows) const {
  std::int64_t tokens = 0;
  for (int row = 0; row < q_len; ++row)
    if (rows.contains(row)) tokens += key_end(row) - key_begin(row);
  return tokens;
}

MaskCounts count_mask(ConstMaskView mask, int head, const RowSet& rows) {
  const BlockGrid& grid = mask.grid;
  MaskCounts counts;
  counts.dense_tokens = grid.dense_tokens(rows);
  for (int qb = 0; qb < grid.q_blocks(); ++qb) {
    const int members = rows.count(grid.q_begin(qb), grid.q_end(qb));
    if (members == 0) continue;
    counts.causal_tiles += grid.visible_blocks(qb);
    for (int kb = grid.visible_begin(qb); kb < grid.causal_end(qb); ++kb) {
      if (!mask.kept(head, qb, kb)) continue;
      const std::int64_t executed = std::int64_t(members) * (grid.k_end(kb) - grid.k_begin(kb));
      const bool all_visible = !grid.windowed(grid.q_begin(qb)) && kb >= grid.uncut_begin(qb) &&
                               grid.k_end(kb) <= grid.key_end(grid.q_begin(qb));
      ++counts.tiles;
      counts.tokens += all_visible ? executed : grid.tile_tokens(qb, kb, rows);
      counts.executed_tokens += executed;
    }
  }
  return counts;
}

}  // namespace salebench
