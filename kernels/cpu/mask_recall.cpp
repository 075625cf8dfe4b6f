#include "kernels/cpu/mask_recall.h"

#include <algorithm>
#include <bit>

#include "kernels/cpu/mass_tile.h"
#include "kernels/cpu/panels.h"

namespace salebench::cpu {
namespace {

/// Rows of one head that share a task: those wanted of up to kRowTile adjacent ones.
struct Part {
  std::size_t begin = 0, end = 0;  ///< places in the list of rows
};

std::vector<Part> parts_of(std::span<const int> rows) {
  std::vector<Part> parts;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (parts.empty() || rows[i] / kRowTile != rows[parts.back().begin] / kRowTile) parts.push_back({i, i});
    parts.back().end = i + 1;
  }
  return parts;
}

/// Which keys of each panel the query blocks of one part keep.
class KeptLanes {
 public:
  void list(ConstMaskView mask, int head, int first_row, int last_row) {
    first_block_ = first_row / mask.grid.block.q;
    const int end_block = last_row / mask.grid.block.q + 1, key_end = mask.grid.key_end(last_row);
    kept_panels(mask, head, first_block_, end_block, key_end, visits_);
    const int panels = round_up(key_end, kPanelKeys) / kPanelKeys;
    lanes_.assign(std::size_t(panels) * visits_.q_blocks, 0);
    for (const int panel : visits_.panels)
      std::copy_n(visits_.lanes_of(panel), visits_.q_blocks, &lanes_[std::size_t(panel) * visits_.q_blocks]);
  }
  std::uint32_t of(int panel, int q_block) const {
    return lanes_[std::size_t(panel) * visits_.q_blocks + q_block - first_block_];
  }

 private:
  int first_block_ = 0;
  PanelVisits visits_;
  std::vector<std::uint32_t> lanes_;  // [panels, query blocks]
};

/// Bits of the keys [begin, end) in the panel that starts at key `first`.
std::uint32_t keys_between(int begin, int end, int first) {
  return lanes_below(end - first) & ~lanes_below(begin - first);
}

/// Of a panel, the keys that a row sees, and those of them that it keeps.
struct RowKeys {
  std::uint32_t seen = 0, kept = 0;
};

RowKeys row_keys(const BlockGrid& grid, const KeptLanes& lanes, int row, int panel) {
  const int first = panel * kPanelKeys;
  RowKeys keys{keys_between(grid.key_begin(row), grid.key_end(row), first), 0};
  keys.kept = keys.seen & lanes.of(panel, row / grid.block.q);
  if (grid.windowed(row))
    keys.kept &=
        lanes_below(grid.window->sink - first) | ~lanes_below(grid.position(row) - grid.window->local + 1 - first);
  return keys;
}

/// Panels that any of the rows sees a key of.
struct PanelRange {
  int begin = 0, end = 0;
};

PanelRange seen_panels(const BlockGrid& grid, std::span<const int> rows) {
  return {grid.key_begin(rows.front()) / kPanelKeys, round_up(grid.key_end(rows.back()), kPanelKeys) / kPanelKeys};
}

/// Whether the rows keep more than half of the keys that they see.
bool keep_more_than_half(const BlockGrid& grid, const KeptLanes& lanes, std::span<const int> rows) {
  std::int64_t seen = 0, kept = 0;
  const PanelRange panels = seen_panels(grid, rows);
  for (int panel = panels.begin; panel < panels.end; ++panel)
    for (const int row : rows) {
      const RowKeys keys = row_keys(grid, lanes, row, panel);
      seen += std::popcount(keys.seen), kept += std::popcount(keys.kept);
    }
  return 2 * kept > seen;
}

/// Buffers that a thread reuses from part to part.
struct Workspace {
  KeptLanes kept;
  std::vector<double> queries, lse, mass;
  std::vector<std::uint32_t> wanted;
};

/// Recall of the given rows of one head; lse and recall are theirs.
void recall_of_part(const HostProblem& p, ConstMaskView mask, int head, std::span<const int> rows, const double* lse,
                    const PackedHead& keys, Workspace& work, double* recall) {
  const int dim = p.shape.head_dim, count = int(rows.size()), padded = round_up(count, kMassRows);
  work.kept.list(mask, head, rows.front(), rows.back());
  const bool dropped = keep_more_than_half(mask.grid, work.kept, rows);
  work.queries.assign(std::size_t(padded) * dim, 0.0);
  work.wanted.assign(padded, 0u);
  work.mass.assign(count, 0.0);
  for (int r = 0; r < count; ++r)
    for (int d = 0; d < dim; ++d)
      work.queries[std::size_t(r) * dim + d] = double(p.scale) * p.q_head(head)[std::size_t(rows[r]) * dim + d];
  const PanelRange panels = seen_panels(mask.grid, rows);
  for (int panel = panels.begin; panel < panels.end; ++panel) {
    std::uint32_t any = 0;
    for (int r = 0; r < count; ++r) {
      const RowKeys of_row = row_keys(mask.grid, work.kept, rows[r], panel);
      any |= work.wanted[r] = dropped ? of_row.seen & ~of_row.kept : of_row.kept;
    }
    if (any == 0) continue;
    add_mass({work.queries.data(), count, dim, keys.panel(panel, dim), work.wanted.data(), lse}, work.mass.data());
  }
  // Rounding may put a sum a hair outside of what a share can be.
  for (int r = 0; r < count; ++r) recall[r] = std::clamp(dropped ? 1 - work.mass[r] : work.mass[r], 0.0, 1.0);
}

}  // namespace

std::vector<double> mask_recall(const HostProblem& p, ConstMaskView mask, std::span<const int> rows,
                                std::span<const double> lse) {
  const std::vector<PackedHead> packed = pack_heads(p, false);
  const std::vector<Part> parts = parts_of(rows);
  std::vector<double> recall(lse.size());
#pragma omp parallel
  {
    Workspace work;
#pragma omp for collapse(2) schedule(dynamic)
    for (std::size_t i = 0; i < parts.size(); ++i) {
      for (int head = 0; head < p.shape.q_heads; ++head) {
        const Part& part = parts[parts.size() - 1 - i];  // the longest rows first, so that the threads end together
        const std::size_t first = std::size_t(head) * rows.size() + part.begin;
        recall_of_part(p, mask, head, rows.subspan(part.begin, part.end - part.begin), &lse[first],
                       packed[p.shape.kv_head_of(head)], work, &recall[first]);
      }
    }
  }
  return recall;
}

}  // namespace salebench::cpu
