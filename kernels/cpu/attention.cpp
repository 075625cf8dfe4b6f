#include "kernels/cpu/attention.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>
#include <numeric>

#include "kernels/cpu/attention_tile.h"
#include "kernels/cpu/packed.h"
#include "kernels/cpu/panels.h"

namespace salebench::cpu {
namespace {

/// A tile of query rows of one head, inside one query block of the mask.
struct RowTile {
  int head = 0, q_block = 0, begin = 0, end = 0;
  std::int64_t cost = 0;
};

/// Row tiles of all heads, the most expensive first, so that the threads end together.
template <class Cost>
std::vector<RowTile> make_tiles(const HostProblem& p, int block_q, const Cost& cost) {
  std::vector<RowTile> tiles;
  for (int head = 0; head < p.shape.q_heads; ++head)
    for (int block_begin = 0; block_begin < p.shape.q_len; block_begin += block_q)
      for (int begin = block_begin; begin < std::min(p.shape.q_len, block_begin + block_q); begin += kRowTile) {
        const int end = std::min({p.shape.q_len, block_begin + block_q, begin + kRowTile});
        tiles.push_back({head, block_begin / block_q, begin, end, 0});
        tiles.back().cost = cost(tiles.back());
      }
  std::ranges::stable_sort(tiles, std::ranges::greater(), &RowTile::cost);
  return tiles;
}

/// Runs the tiles in parallel; list_panels(tile, visits) says which key panels a tile reads.
template <class ListPanels>
void run_tiles(const HostProblem& p, const std::vector<RowTile>& tiles, const RowLimits& limits,
               const ListPanels& list_panels, AttentionView out) {
  const bool with_values = !out.output.empty();
  const std::vector<PackedHead> packed = pack_heads(p, with_values);
  const float to_base2 = p.scale * std::numbers::log2e_v<float>;
#pragma omp parallel
  {
    TileWorkspace work;
#pragma omp for schedule(dynamic)
    for (std::size_t i = 0; i < tiles.size(); ++i) {
      const RowTile& tile = tiles[i];
      list_panels(tile, work.visits);
      pack_queries(p, tile.head, tile.begin, tile.end, to_base2, work.queries);
      TileTask task;
      task.q = work.queries.data();
      task.rows = tile.end - tile.begin;
      task.dim = p.shape.head_dim;
      task.kv = &packed[p.shape.kv_head_of(tile.head)];
      task.visits = &work.visits;
      task.limits = limits;
      task.limits.first_position = p.shape.offset() + tile.begin;
      task.limits.windowed_rows = std::clamp(limits.windowed_rows - tile.begin, 0, task.rows);
      const std::size_t row = std::size_t(tile.head) * p.shape.q_len + tile.begin;
      task.output = with_values ? &out.output[row * p.shape.head_dim] : nullptr;
      task.lse = &out.lse[row];
      attend_tile(task, work);
    }
  }
}

RowLimits limits_of(const HostProblem& p, const std::optional<Window>& window) {
  RowLimits limits;
  limits.causal = p.causal;
  limits.kv_len = p.shape.kv_len;
  if (!window) return limits;
  limits.sink = window->sink, limits.local = window->local;
  limits.windowed_rows = p.shape.q_len - window->dense_rows;  // of the whole problem; a tile takes its own share
  return limits;
}

}  // namespace

void dense_attention(const HostProblem& p, AttentionView out) {
  const auto tiles = make_tiles(p, kRowTile, [&](const RowTile& t) { return std::int64_t(p.key_end(t.end - 1)); });
  const auto list_panels = [&](const RowTile& tile, std::vector<PanelVisit>& visits) {
    visits.clear();
    const int panels = round_up(p.key_end(tile.end - 1), kPanelKeys) / kPanelKeys;
    for (int panel = 0; panel < panels; ++panel) visits.push_back({panel, valid_lanes(panel, p.shape.kv_len)});
  };
  run_tiles(p, tiles, limits_of(p, std::nullopt), list_panels, out);
}

void block_sparse_attention(const HostProblem& p, ConstMaskView mask, AttentionView out) {
  const auto tiles = make_tiles(p, mask.grid.block.q, [&](const RowTile& t) {
    const std::uint32_t* row = mask.row(t.head, t.q_block);
    return std::accumulate(row, row + mask.grid.words(), std::int64_t(0),
                           [](std::int64_t sum, std::uint32_t word) { return sum + std::popcount(word); }) *
           (t.end - t.begin);
  });
  const auto list_panels = [&](const RowTile& tile, std::vector<PanelVisit>& visits) {
    kept_panels(mask, tile.head, tile.q_block, p.key_end(tile.end - 1), visits);
  };
  run_tiles(p, tiles, limits_of(p, mask.grid.window), list_panels, out);
}

}  // namespace salebench::cpu
