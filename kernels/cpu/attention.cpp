#include "kernels/cpu/attention.h"

#include <omp.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>
#include <numeric>

#include "kernels/cpu/amx/attention.h"
#include "kernels/cpu/attention_tile.h"
#include "kernels/cpu/packed.h"
#include "kernels/cpu/panels.h"
#include "kernels/cpu/simd.h"

namespace salebench::cpu {
namespace {

/// Query rows of one head that one task takes: part of a query block of the mask, or several low ones as a whole.
struct RowTile {
  int head = 0, begin = 0, end = 0;
  std::int64_t cost = 0;
};

/// Whether the AMX kernel does it.
bool by_amx(Weights weights) {
  return use_amx() && weights == Weights::exact;
}

/// Query rows that one task takes at most.
int tile_rows(Weights weights) {
  return by_amx(weights) ? kAmxRowTile : kRowTile;
}

/// Row tiles of all heads, the most expensive first, so that the threads end together.
template <class Cost>
std::vector<RowTile> make_tiles(const HostProblem& p, int block_q, Weights weights, const Cost& cost) {
  const int most_rows = tile_rows(weights);
  std::vector<RowTile> tiles;
  const int span = std::max(1, kRowTile / block_q) * block_q;  // whole query blocks
  for (int head = 0; head < p.shape.q_heads; ++head)
    for (int span_begin = 0; span_begin < p.shape.q_len; span_begin += span)
      for (int begin = span_begin; begin < std::min(p.shape.q_len, span_begin + span); begin += most_rows) {
        const int end = std::min({p.shape.q_len, span_begin + span, begin + most_rows});
        tiles.push_back({head, begin, end, 0});
        tiles.back().cost = cost(tiles.back());
      }
  std::ranges::stable_sort(tiles, std::ranges::greater(), &RowTile::cost);
  return tiles;
}

/// The limits of one tile, from those of row 0 of the whole problem.
RowLimits tile_limits(const RowTile& tile, RowLimits limits) {
  limits.first_position += tile.begin * limits.step;
  limits.windowed_rows = std::clamp(limits.windowed_rows - tile.begin, 0, tile.end - tile.begin);
  return limits;
}

/// What one thread needs to run tasks with the AMX kernel.
class AmxWorker {
 public:
  AmxWorker(const HostProblem& p, const AmxKeysValues& kv, Weights) : p_(p), kv_(kv) {}

  void attend(const RowTile& tile, const RowTile* next, const RowTask& rows) {
    auto& work = Workspace::of_thread().get<AmxWorkspace>();
    AmxTask task{rows};
    task.q = queries(tile);
    if (next && next->end - next->begin == rows.rows) task.next_q = queries(*next);
    task.kv_head = p_.shape.kv_head_of(tile.head);
    task.factor = p_.scale * std::numbers::log2e_v<float>;
    task.kv = &kv_;
    amx_attend_tile(task, work);
  }

 private:
  const float* queries(const RowTile& tile) const {
    return p_.q_head(tile.head) + std::size_t(tile.begin) * p_.shape.head_dim;
  }

  const HostProblem& p_;
  const AmxKeysValues& kv_;
  TileScope scope_;
};

/// The same with the vector kernel.
class VectorWorker {
 public:
  VectorWorker(const HostProblem& p, const std::vector<PackedHead>& kv, Weights weights)
      : p_(p), kv_(kv), weights_(weights) {}

  void attend(const RowTile& tile, const RowTile*, const RowTask& rows) {
    auto& work = Workspace::of_thread().get<TileWorkspace>();
    pack_queries(p_, tile.head, tile.begin, tile.end, p_.scale * std::numbers::log2e_v<float>, work.queries);
    TileTask task{rows};
    task.q = work.queries.data();
    task.kv = &kv_[p_.shape.kv_head_of(tile.head)];
    task.e4m3_weights = weights_ == Weights::e4m3;
    attend_tile(task, work);
  }

 private:
  const HostProblem& p_;
  const std::vector<PackedHead>& kv_;
  Weights weights_;
};

/// Hands each tile with its task to a Worker of a thread, in parallel.
template <class Worker, class KeysValues, class ListPanels>
void share_tiles(const HostProblem& p, const KeysValues& kv, const std::vector<RowTile>& tiles, int block_q,
                 const RowLimits& limits, Weights weights, const ListPanels& list_panels, AttentionView out) {
#pragma omp parallel
  {
    Worker worker(p, kv, weights);
    auto& visits = Workspace::of_thread().get<PanelVisits>();
#pragma omp for schedule(dynamic)
    for (std::size_t i = 0; i < tiles.size(); ++i) {
      const RowTile& tile = tiles[i];
      list_panels(tile, visits);
      const std::size_t row = std::size_t(tile.head) * p.shape.q_len + tile.begin;
      RowTask task;
      task.rows = tile.end - tile.begin;
      task.dim = p.shape.head_dim;
      task.visits = &visits;
      task.block_rows = std::min(block_q, tile_rows(weights));
      task.limits = tile_limits(tile, limits);
      task.output = out.output.empty() ? nullptr : &out.output[row * p.shape.head_dim];
      task.lse = &out.lse[row];
      const std::size_t next = i + std::size_t(omp_get_num_threads());  // as threads take turns, more or less
      worker.attend(tile, next < tiles.size() ? &tiles[next] : nullptr, task);
    }
  }
}

/// Runs the tiles in parallel; list_panels(tile, visits) says which key panels a tile reads. limits: of row 0.
template <class ListPanels>
void run_tiles(const HostProblem& p, const std::vector<RowTile>& tiles, int block_q, const RowLimits& limits,
               Weights weights, const ListPanels& list_panels, AttentionView out, Workspace& work) {
  const bool with_values = !out.output.empty();
  if (by_amx(weights)) {
    auto& kv = work.get<AmxKeysValues>();
    pack_keys_values(p, with_values, kv);
    return share_tiles<AmxWorker>(p, kv, tiles, block_q, limits, weights, list_panels, out);
  }
  auto& kv = work.get<std::vector<PackedHead>>();
  pack_heads(p, with_values, kv);
  share_tiles<VectorWorker>(p, kv, tiles, block_q, limits, weights, list_panels, out);
}

RowLimits limits_of(const HostProblem& p, const std::optional<Window>& window) {
  RowLimits limits;
  limits.first_position = p.shape.offset();
  limits.causal = p.causal;
  limits.kv_len = p.shape.kv_len;
  limits.sliding_window = p.sliding_window;
  if (!window) return limits;
  limits.sink = window->sink, limits.local = window->local;
  limits.windowed_rows = p.shape.q_len - window->dense_rows;  // of the whole problem; a tile takes its own share
  return limits;
}

/// Exact attention of all rows of `p`, which sit where `limits` says.
void dense_tiles(const HostProblem& p, const RowLimits& limits, Weights weights, AttentionView out, Workspace& work) {
  const auto key_begin = [&](const RowTile& tile) { return limits.key_begin(tile.begin); };
  const auto key_end = [&](const RowTile& tile) { return limits.key_end(tile.end - 1); };
  const auto list_panels = [&](const RowTile& tile, PanelVisits& visits) {
    visits.start(1, key_end(tile));
    for (int panel = key_begin(tile) / kPanelKeys; panel * kPanelKeys < key_end(tile); ++panel)
      *visits.visit(panel) = lanes_below(p.shape.kv_len - panel * kPanelKeys);
  };
  const auto cost = [&](const RowTile& tile) { return key_end(tile) - key_begin(tile); };
  const int rows = tile_rows(weights);
  run_tiles(p, make_tiles(p, rows, weights, cost), rows, limits, weights, list_panels, out, work);
}

}  // namespace

void dense_attention(const HostProblem& p, AttentionView out, Workspace& work, Weights weights) {
  dense_tiles(p, limits_of(p, std::nullopt), weights, out, work);
}

void dense_attention_of_rows(const HostProblem& p, int begin, int end, int step, AttentionView out, Workspace& work) {
  const int count = std::max(0, (end - begin + step - 1) / step);
  if (count == 0) return;
  const std::size_t dim = p.shape.head_dim;
  std::vector<float> queries;  // [q_heads, count, head_dim]
  queries.reserve(p.shape.q_heads * count * dim);
  for (int head = 0; head < p.shape.q_heads; ++head)
    for (int row = begin; row < end; row += step) {
      const float* query = p.q_head(head) + row * dim;
      queries.insert(queries.end(), query, query + dim);
    }
  HostProblem gathered = p;
  gathered.shape.q_len = count;
  gathered.q = queries;
  RowLimits limits = limits_of(p, std::nullopt);
  limits.first_position += begin, limits.step = step;
  dense_tiles(gathered, limits, Weights::exact, out, work);
}

void block_sparse_attention(const HostProblem& p, ConstMaskView mask, AttentionView out, Workspace& work,
                            Weights weights) {
  const int block_q = mask.grid.block.q;
  const auto first_block = [&](const RowTile& t) { return t.begin / block_q; };
  const auto end_block = [&](const RowTile& t) { return (t.end - 1) / block_q + 1; };
  const auto tiles = make_tiles(p, block_q, weights, [&](const RowTile& t) {
    const std::uint32_t* const end = mask.row(t.head, end_block(t));  // the rows of one head lie one after another
    const auto kept = std::accumulate(mask.row(t.head, first_block(t)), end, std::int64_t(0),
                                      [](std::int64_t sum, std::uint32_t word) { return sum + std::popcount(word); });
    return kept * (t.end - t.begin);
  });
  const auto list_panels = [&](const RowTile& tile, PanelVisits& visits) {
    kept_panels(mask, tile.head, first_block(tile), end_block(tile), p.key_end(tile.end - 1), visits);
  };
  run_tiles(p, tiles, block_q, limits_of(p, mask.grid.window), weights, list_panels, out, work);
}

}  // namespace salebench::cpu
