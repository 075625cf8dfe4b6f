#include "kernels/cpu/sale_scan.h"

#include <algorithm>
#include <limits>
#include <numbers>

#include "kernels/cpu/amx_codes.h"
#include "kernels/cpu/amx_tile.h"
#include "kernels/cpu/code_tile.h"
#include "kernels/cpu/packed.h"
#include "kernels/cpu/score_tile.h"
#include "kernels/cpu/simd.h"

namespace salebench::cpu {
namespace {

/// Rows [begin, begin + rows) of a head, at most kRowTile.
struct Rows {
  int head = 0, begin = 0, rows = 0;
};

/// Calls work(rows, offset in the query block) for each row tile of a query block.
template <class Work>
void for_row_tiles(const BlockGrid& grid, int head, int qb, const Work& work) {
  for (int begin = grid.q_begin(qb); begin < grid.q_end(qb); begin += kRowTile)
    work(Rows{head, begin, std::min(kRowTile, grid.q_end(qb) - begin)}, begin - grid.q_begin(qb));
}

int panels_of_tile(const BlockGrid& grid) {
  return grid.block.k / kPanelKeys;
}

/// Adds the kept key blocks of `part` to the log-sum-exp behind the thresholds `limit` of a query block's rows.
void raise_limits(const RunningReference& running, const std::vector<PackedHead>& packed, ConstMaskView mask, int head,
                  int qb, ScanRange part, std::vector<float>& queries, std::vector<float>& limit) {
  const HostProblem& p = running.problem;
  constexpr float kToBase2 = std::numbers::log2e_v<float>;
  const float log_threshold = running.log_threshold[std::size_t(head)];
  for_row_tiles(mask.grid, head, qb, [&](const Rows& tile, int offset) {
    pack_queries(p, head, tile.begin, tile.begin + tile.rows, p.scale * kToBase2, queries);
    float lse[kRowTile];
    for (int r = 0; r < tile.rows; ++r) lse[r] = (limit[offset + r] * p.scale - log_threshold) * kToBase2;
    ScoreTask task;
    task.q = queries.data();
    task.rows = tile.rows;
    task.dim = p.shape.head_dim;
    task.kv = &packed[p.shape.kv_head_of(head)];
    const int tile_panels = panels_of_tile(mask.grid);
    for (int kb = part.begin; kb < part.end; ++kb)
      for (int i = 0; i < tile_panels && mask.kept(head, qb, kb); ++i) add_to_lse(task, kb * tile_panels + i, lse);
    for (int r = 0; r < tile.rows; ++r) limit[offset + r] = (lse[r] / kToBase2 + log_threshold) / p.scale;
  });
}

/// Calls scan(rows, thresholds, first panel, panels of a tile, reached) for each row tile and part of its range, and
/// keeps the tiles reached. In parallel; make_scan() makes one scan a thread.
template <class MakeScan>
void scan_tiles(const Shape& shape, std::span<const ScanRange> ranges, std::span<const float> thresholds, MaskView mask,
                const RunningReference* running, const MakeScan& make_scan) {
  const BlockGrid& grid = mask.grid;
  const int tile_panels = panels_of_tile(grid);
  const auto packed = running ? pack_heads(running->problem, false) : std::vector<PackedHead>();
#pragma omp parallel
  {
    auto scan = make_scan();
    std::vector<bool> reached;
    std::vector<float> limit, queries;
#pragma omp for collapse(2) schedule(dynamic)
    for (int qb = grid.q_blocks() - 1; qb >= 0; --qb) {
      for (int head = 0; head < shape.q_heads; ++head) {
        const float* row_limits = &thresholds[std::size_t(head) * shape.q_len];
        limit.assign(row_limits + grid.q_begin(qb), row_limits + grid.q_end(qb));
        if (limit.front() == std::numeric_limits<float>::infinity()) continue;  // a dense head
        const int step = running ? running->segment : std::max(1, ranges[qb].end - ranges[qb].begin);
        for (int at = ranges[qb].begin; at < ranges[qb].end; at += step) {
          const ScanRange part = {at, std::min(ranges[qb].end, at + step)};
          for_row_tiles(grid, head, qb, [&](const Rows& tile, int offset) {
            reached.resize(std::size_t(part.end - part.begin));
            for (int kb = part.begin; kb < part.end; ++kb) reached[kb - part.begin] = mask.kept(head, qb, kb);
            scan(tile, &limit[offset], part.begin * tile_panels, tile_panels, reached);
            for (int kb = part.begin; kb < part.end; ++kb)
              if (reached[kb - part.begin]) mask.keep(head, qb, kb);
          });
          if (running) raise_limits(*running, packed, mask, head, qb, part, queries, limit);
        }
      }
    }
  }
}

}  // namespace

void scan_codes(const Shape& shape, const SaleCodes& codes, std::span<const ScanRange> ranges,
                std::span<const float> thresholds, MaskView mask, const RunningReference* running) {
  const auto task_of = [&](const Rows& tile, const float* limit) {
    return CodeTask{&codes, tile.head, shape.kv_head_of(tile.head), shape.q_len, tile.begin, tile.rows, limit};
  };
#if defined(__x86_64__) && defined(__linux__)
  if (use_amx() && codes.groups == ScaleGroups::thread) {
    const AmxCodes packed = pack_amx_codes(shape, codes);
    return scan_tiles(shape, ranges, thresholds, mask, running, [&] {
      return [&, scope = TileScope(), work = AmxCodeWorkspace()](const Rows& tile, const float* limit, int first_panel,
                                                                 int tile_panels, std::vector<bool>& reached) mutable {
        amx_codes_reach(task_of(tile, limit), packed, first_panel, tile_panels, work, reached);
      };
    });
  }
#endif
  scan_tiles(shape, ranges, thresholds, mask, running, [&] {
    return [&, work = CodeWorkspace()](const Rows& tile, const float* limit, int first_panel, int tile_panels,
                                       std::vector<bool>& reached) mutable {
      codes_reach(task_of(tile, limit), first_panel, tile_panels, work, reached);
    };
  });
}

void scan_exact(const HostProblem& p, std::span<const ScanRange> ranges, std::span<const float> thresholds,
                MaskView mask, const RunningReference* running, std::span<const float> key_bias) {
  const std::vector<PackedHead> packed = pack_heads(p, false);
  const std::size_t keys = round_up(p.shape.kv_len, kPanelKeys);
  scan_tiles(p.shape, ranges, thresholds, mask, running, [&] {
    return [&, queries = std::vector<float>()](const Rows& tile, const float* limit, int first_panel, int tile_panels,
                                               std::vector<bool>& reached) mutable {
      pack_queries(p, tile.head, tile.begin, tile.begin + tile.rows, 1.0f, queries);
      ScoreTask task;
      task.q = queries.data();
      task.rows = tile.rows;
      task.dim = p.shape.head_dim;
      task.kv = &packed[p.shape.kv_head_of(tile.head)];
      task.row_value = limit;
      task.key_bias = key_bias.empty() ? nullptr : &key_bias[tile.head * keys];
      tiles_reach(task, first_panel, tile_panels, reached);
    };
  });
}

}  // namespace salebench::cpu
