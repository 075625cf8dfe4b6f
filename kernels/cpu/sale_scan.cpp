#include "kernels/cpu/sale_scan.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <numbers>

#include "kernels/cpu/amx/codes.h"
#include "kernels/cpu/amx/support.h"
#include "kernels/cpu/code_tile.h"
#include "kernels/cpu/packed.h"
#include "kernels/cpu/score_tile.h"
#include "kernels/cpu/simd.h"

namespace salebench::cpu {
namespace {

constexpr int kBatchRows = 512;  // that pass by a panel at a time, if they share its KV head

/// Rows [begin, begin + rows) of a head, at most kRowTile, and the tiles that they are scanned against.
struct RowTile {
  int head = 0, begin = 0, rows = 0;
  const float* limit = nullptr;  ///< [rows]
  std::span<std::uint8_t> reached;
};

/// Query blocks [q_begin, q_end) of the heads of one KV head.
struct Batch {
  int kv_head = 0, q_begin = 0, q_end = 0;
};

/// Calls work(first row, rows, offset in the query block) for each row tile of a query block.
template <class Work>
void for_row_tiles(const BlockGrid& grid, int qb, const Work& work) {
  for (int begin = grid.q_begin(qb); begin < grid.q_end(qb); begin += kRowTile)
    work(begin, std::min(kRowTile, grid.q_end(qb) - begin), begin - grid.q_begin(qb));
}

/// Calls work(key block) for those of `part` that are kept.
template <class Work>
void for_kept(ConstMaskView mask, int head, int qb, ScanRange part, const Work& work) {
  const std::uint32_t* const row = mask.row(head, qb);
  for (int word = part.begin / 32; word * 32 < part.end; ++word)
    for (std::uint32_t bits = row[word]; bits != 0; bits &= bits - 1) {
      const int kb = word * 32 + std::countr_zero(bits);
      if (kb >= part.begin && kb < part.end) work(kb);
    }
}

/// Keeps key block begin + i of a row for each mark i that is 1, eight marks at a time.
void keep_marked(MaskView mask, int head, int qb, int begin, std::span<const std::uint8_t> marks) {
  std::uint32_t* const row = mask.row(head, qb);
  std::size_t i = 0;
  for (; i + 8 <= marks.size(); i += 8) {
    std::uint64_t eight;
    std::memcpy(&eight, &marks[i], sizeof eight);
    if (eight == 0) continue;
    const std::uint64_t bits = eight * 0x0102040810204080u >> 56;  // mark j as bit j
    const std::size_t first = std::size_t(begin) + i;
    const std::uint64_t shifted = bits << first % 32;
    row[first / 32] |= std::uint32_t(shifted);
    if (shifted >> 32) row[first / 32 + 1] |= std::uint32_t(shifted >> 32);
  }
  for (; i < marks.size(); ++i)
    if (marks[i]) mask.keep(head, qb, begin + int(i));
}

int panels_of_tile(const BlockGrid& grid) {
  return grid.block.k / kPanelKeys;
}

/// Adds the kept key blocks of `part` to the log-sum-exp behind the thresholds `limit` of a query block's rows.
void raise_limits(const RunningReference& running, const std::vector<PackedHead>& packed, ConstMaskView mask, int head,
                  int qb, ScanRange part, std::vector<float>& queries, float* limit) {
  const HostProblem& p = running.problem;
  constexpr float kToBase2 = std::numbers::log2e_v<float>;
  const float log_threshold = running.log_threshold[std::size_t(head)];
  for_row_tiles(mask.grid, qb, [&](int begin, int rows, int offset) {
    pack_queries(p, head, begin, begin + rows, p.scale * kToBase2, queries);
    float lse[kRowTile];
    for (int r = 0; r < rows; ++r) lse[r] = (limit[offset + r] * p.scale - log_threshold) * kToBase2;
    ScoreTask task;
    task.q = queries.data();
    task.rows = rows;
    task.dim = p.shape.head_dim;
    task.kv = &packed[p.shape.kv_head_of(head)];
    const int tile_panels = panels_of_tile(mask.grid);
    for (int kb = part.begin; kb < part.end; ++kb)
      for (int i = 0; i < tile_panels && mask.kept(head, qb, kb); ++i) add_to_lse(task, kb * tile_panels + i, lse);
    for (int r = 0; r < rows; ++r) limit[offset + r] = (lse[r] / kToBase2 + log_threshold) / p.scale;
  });
}

/// The scan of batches, with a thread's buffers.
template <class Scan>
class BatchScan {
 public:
  BatchScan(std::span<const ScanRange> ranges, std::span<const float> thresholds, MaskView mask, const Shape& shape,
            Scan scan)
      : ranges_(ranges), thresholds_(thresholds), mask_(mask), shape_(shape), scan_(std::move(scan)) {}

  /// Scans the whole ranges of the batch's query blocks.
  void run(const Batch& batch) {
    load_limits(batch);
    scan_part(batch, 0, longest_);
  }

  /// Scans segment by segment, of one query block.
  void run(const Batch& batch, const RunningReference& running, const std::vector<PackedHead>& packed) {
    load_limits(batch);
    for (int at = 0; at < longest_; at += running.segment) {
      scan_part(batch, at, running.segment);
      const int begin = ranges_[batch.q_begin].begin + at;
      const ScanRange part = {begin, std::min(ranges_[batch.q_begin].end, begin + running.segment)};
      for (Block& block : blocks_)
        raise_limits(running, packed, mask_, block.head, block.qb, part, queries_, &limits_[block.limit]);
    }
  }

 private:
  /// A query block of a head.
  struct Block {
    int head = 0, qb = 0;
    std::size_t limit = 0;    ///< where its rows' limits are
    std::size_t reached = 0;  ///< where its tiles' marks are
    ScanRange part;           ///< key blocks of the marks
  };

  /// The blocks of the batch, those with the longest range first, without dense heads.
  void load_limits(const Batch& batch) {
    const int group = shape_.q_heads / shape_.kv_heads;
    blocks_.clear(), limits_.clear();
    longest_ = 0;
    for (int qb = batch.q_end - 1; qb >= batch.q_begin; --qb)
      for (int head = batch.kv_head * group; head < (batch.kv_head + 1) * group; ++head) {
        const float* const of_head = &thresholds_[std::size_t(head) * shape_.q_len];
        const BlockGrid& grid = mask_.grid;
        if (of_head[grid.q_begin(qb)] == std::numeric_limits<float>::infinity()) continue;
        blocks_.push_back({head, qb, limits_.size(), 0, {}});
        limits_.insert(limits_.end(), of_head + grid.q_begin(qb), of_head + grid.q_end(qb));
        longest_ = std::max(longest_, ranges_[qb].end - ranges_[qb].begin);
      }
    std::ranges::stable_sort(blocks_, std::ranges::greater(), [&](const Block& b) { return ranges_[b.qb].end; });
  }

  std::span<std::uint8_t> reached_of(const Block& block) {
    return {reached_.data() + block.reached, std::size_t(block.part.end - block.part.begin)};
  }

  /// Scans the `count` key blocks from `at` on of each block's range.
  void scan_part(const Batch& batch, int at, int count) {
    const BlockGrid& grid = mask_.grid;
    const int tile_panels = panels_of_tile(grid);
    reached_.clear(), tiles_.clear();
    for (Block& block : blocks_) {
      const ScanRange range = ranges_[block.qb];
      block.part = {std::min(range.begin + at, range.end), std::min(range.begin + at + count, range.end)};
      block.reached = reached_.size();
      reached_.resize(block.reached + std::size_t(block.part.end - block.part.begin));
      for_kept(mask_, block.head, block.qb, block.part,
               [&](int kb) { reached_[block.reached + std::size_t(kb - block.part.begin)] = 1; });
    }
    for (const Block& block : blocks_)
      for_row_tiles(grid, block.qb, [&](int begin, int rows, int offset) {
        tiles_.push_back({block.head, begin, rows, &limits_[block.limit + offset], reached_of(block)});
      });
    scan_(std::span<const RowTile>(tiles_), (ranges_[batch.q_begin].begin + at) * tile_panels, tile_panels);
    for (const Block& block : blocks_) keep_marked(mask_, block.head, block.qb, block.part.begin, reached_of(block));
  }

  std::span<const ScanRange> ranges_;
  std::span<const float> thresholds_;
  MaskView mask_;
  Shape shape_;
  Scan scan_;
  int longest_ = 0;  ///< range of the batch
  std::vector<Block> blocks_;
  std::vector<RowTile> tiles_;
  std::vector<std::uint8_t> reached_;
  std::vector<float> limits_, queries_;
};

/// Scans all ranges in parallel. make_scan() makes a scan for each thread: scan(row tiles, first panel, panels of a
/// tile) marks the tiles reached.
template <class MakeScan>
void scan_tiles(const Shape& shape, std::span<const ScanRange> ranges, std::span<const float> thresholds, MaskView mask,
                const RunningReference* running, const MakeScan& make_scan) {
  const auto packed = running ? pack_heads(running->problem, false) : std::vector<PackedHead>();
  const int block_rows = mask.grid.block.q * (shape.q_heads / shape.kv_heads);
  // Query blocks that are scanned together begin at the same key.
  const bool one_begin =
      std::ranges::adjacent_find(ranges, std::ranges::not_equal_to(), &ScanRange::begin) == ranges.end();
  const int step = running || !one_begin ? 1 : std::max(1, kBatchRows / block_rows);
#pragma omp parallel
  {
    BatchScan batches(ranges, thresholds, mask, shape, make_scan());
#pragma omp for collapse(2) schedule(dynamic)
    for (int q_end = mask.grid.q_blocks(); q_end > 0; q_end -= step) {
      for (int kv_head = 0; kv_head < shape.kv_heads; ++kv_head) {
        const Batch batch = {kv_head, std::max(0, q_end - step), q_end};
        running ? batches.run(batch, *running, packed) : batches.run(batch);
      }
    }
  }
}

/// A scan that takes one row tile at a time.
template <class ScanOne>
auto one_by_one(ScanOne scan) {
  return [scan = std::move(scan)](std::span<const RowTile> tiles, int first_panel, int tile_panels) mutable {
    for (const RowTile& tile : tiles) scan(tile, first_panel, tile_panels);
  };
}

/// What a thread keeps while it scans with AMX tiles.
struct AmxScanState {
  std::unique_ptr<TileScope> scope = std::make_unique<TileScope>();
  AmxCodeWorkspace work;
  std::vector<CodeTask> tasks;
};

}  // namespace

void scan_codes(const Shape& shape, const SaleCodes& codes, std::span<const ScanRange> ranges,
                std::span<const float> thresholds, MaskView mask, const RunningReference* running, Workspace& work) {
  const auto task_of = [&](const RowTile& tile) {
    return CodeTask{&codes,     tile.head,   shape.kv_head_of(tile.head), shape.q_len, tile.begin, tile.rows,
                    tile.limit, tile.reached};
  };
  if (use_amx() && codes.groups == ScaleGroups::thread) {
    auto& packed = work.get<AmxCodes>();
    pack_amx_codes(shape, codes, packed);
    return scan_tiles(shape, ranges, thresholds, mask, running, [&] {
      return [&, state = AmxScanState()](std::span<const RowTile> tiles, int first_panel, int tile_panels) mutable {
        state.tasks.clear();
        for (const RowTile& tile : tiles) state.tasks.push_back(task_of(tile));
        amx_codes_reach(state.tasks, packed, first_panel, tile_panels, state.work);
      };
    });
  }
  scan_tiles(shape, ranges, thresholds, mask, running, [&] {
    return one_by_one([&, buffers = CodeWorkspace()](const RowTile& tile, int first_panel, int tile_panels) mutable {
      codes_reach(task_of(tile), first_panel, tile_panels, buffers);
    });
  });
}

void scan_exact(const HostProblem& p, std::span<const ScanRange> ranges, std::span<const float> thresholds,
                MaskView mask, const RunningReference* running, std::span<const float> key_bias) {
  const std::vector<PackedHead> packed = pack_heads(p, false);
  const std::size_t keys = round_up(p.shape.kv_len, kPanelKeys);
  scan_tiles(p.shape, ranges, thresholds, mask, running, [&] {
    return one_by_one(
        [&, queries = std::vector<float>()](const RowTile& tile, int first_panel, int tile_panels) mutable {
          pack_queries(p, tile.head, tile.begin, tile.begin + tile.rows, 1.0f, queries);
          ScoreTask task;
          task.q = queries.data();
          task.rows = tile.rows;
          task.dim = p.shape.head_dim;
          task.kv = &packed[p.shape.kv_head_of(tile.head)];
          task.row_value = tile.limit;
          task.key_bias = key_bias.empty() ? nullptr : &key_bias[tile.head * keys];
          tiles_reach(task, first_panel, tile_panels, tile.reached);
        });
  });
}

}  // namespace salebench::cpu
