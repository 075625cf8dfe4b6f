#include "kernels/cpu/sale_scan.h"

#include <algorithm>

#include "kernels/cpu/code_tile.h"
#include "kernels/cpu/packed.h"
#include "kernels/cpu/score_tile.h"

namespace salebench::cpu {
namespace {

/// Calls scan(head, row_begin, rows, range, reached) for each row tile, in parallel, and keeps the panels reached.
template <class MakeScan>
void scan_tiles(const Shape& shape, std::span<const ScanRange> ranges, MaskView mask, const MakeScan& make_scan) {
  const BlockGrid& grid = mask.grid;
#pragma omp parallel
  {
    auto scan = make_scan();
    std::vector<bool> reached;
#pragma omp for collapse(2) schedule(dynamic)
    for (int qb = grid.q_blocks() - 1; qb >= 0; --qb) {
      for (int head = 0; head < shape.q_heads; ++head) {
        const ScanRange range = ranges[qb];
        for (int begin = grid.q_begin(qb); begin < grid.q_end(qb); begin += kRowTile) {
          scan(head, begin, std::min(kRowTile, grid.q_end(qb) - begin), range, reached);
          for (int kb = range.begin; kb < range.end; ++kb)
            if (reached[std::size_t(kb - range.begin)]) mask.keep(head, qb, kb);
        }
      }
    }
  }
}

}  // namespace

void scan_codes(const Shape& shape, const SaleCodes& codes, std::span<const ScanRange> ranges,
                std::span<const float> thresholds, MaskView mask) {
  scan_tiles(shape, ranges, mask, [&] {
    return [&, work = CodeWorkspace()](int head, int begin, int rows, ScanRange range,
                                       std::vector<bool>& reached) mutable {
      const CodeTask task = {&codes,
                             head,
                             shape.kv_head_of(head),
                             shape.q_len,
                             begin,
                             rows,
                             &thresholds[std::size_t(head) * shape.q_len + begin]};
      codes_reach(task, range.begin, range.end, work, reached);
    };
  });
}

void scan_exact(const HostProblem& p, std::span<const ScanRange> ranges, std::span<const float> thresholds,
                MaskView mask) {
  const std::vector<PackedHead> packed = pack_heads(p, false);
  scan_tiles(p.shape, ranges, mask, [&] {
    return [&, queries = std::vector<float>()](int head, int begin, int rows, ScanRange range,
                                               std::vector<bool>& reached) mutable {
      pack_queries(p, head, begin, begin + rows, 1.0f, queries);
      const ScoreTask task = {queries.data(),
                              rows,
                              p.shape.head_dim,
                              &packed[p.shape.kv_head_of(head)],
                              {},
                              &thresholds[std::size_t(head) * p.shape.q_len + begin]};
      panels_reach(task, range.begin, range.end, reached);
    };
  });
}

}  // namespace salebench::cpu
