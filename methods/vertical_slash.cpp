// MInference (arXiv 2407.02490), vertical-slash: the attention of the last 64 queries, summed along columns and along
// diagonals, says which single keys all rows read and at which distances from its own token a row reads.
// The masks are those that the authors' index builder makes for its 64-row kernel: a distance is a range of 64 keys
// that no grid aligns, ranges that meet are joined in steps of 64, and columns fill the gaps between them.
//
// Defaults: their fallback (1000 columns, 6096 distances); the forced 30 columns and 100 distances are inside.
#include "core/registry.h"
#include "methods/shared/last_queries.h"

namespace salebench {
namespace {

constexpr int kBlock = 64;  // query rows of a block, keys of a range
constexpr int kLeastColumns = 30, kLeastOffsets = 50;

}  // namespace

class VerticalSlash : public Method {
  Knob scale_{.value = 1.0, .typical = {0.25, 0.5, 1}};
  int vertical_ = 1000;
  int slash_ = 6096;
  int last_q_ = 64;
  int sink_ = 30;
  int local_ = 100;

 public:
  Params params() override {
    return {
        {"scale", "multiplies vertical and slash (not in the paper)", 0.0, 32.0, &scale_},
        calibration_file("scales", &scale_),
        {"vertical", "single keys that all rows keep; at least 30", 1, 1 << 20, &vertical_},
        {"slash", "distances to earlier keys that are kept, each a band of 64 keys; at least 50", 1, 1 << 20, &slash_},
        {"last_q", "latest queries whose attention is summed", 1, 4096, &last_q_},
        {"sink", "leading keys always among the columns, inside `vertical`", 0, 1 << 20, &sink_},
        {"local", "shortest distances always kept, inside `slash`", 1, 1 << 20, &local_}};
  }
  BlockSize block() const override { return {kBlock, 1}; }
  About about() const override {
    return {"MInference (arXiv 2407.02490), vertical-slash pattern, authors' code at fb56c91",
            "softmax of the last 64 queries against all keys, summed by key and by distance",
            "the strongest keys as columns and the strongest distances as unaligned bands of 64 keys",
            "float32 instead of the authors' 16 bits, which flips up to 2.2 % of kept entries (bundled capture, 100 "
            "columns and 800 distances); `scale` multiplies both sizes, and as joined ranges do not nest a larger one "
            "can lose single keys, up to 1e-4 of all pairs; of the forced distances the nearest stay where they do not "
            "all fit, where theirs keeps any; in chunked prefill the last "
            "queries are the chunk's and distances count from token positions"};
  }
  bool causal_only() const override { return true; }

  void select(const HostProblem& p, MaskView mask) const override {
    std::vector<cpu::LineSums> sums;
    for (int head = 0; head < mask.heads; ++head) sums.push_back(plain_line_sums(p, head, last_q_));
    keep_lines(sums, mask);
  }

  void select_fast(const HostProblem& p, MaskView mask) const override { keep_lines(cpu::line_sums(p, last_q_), mask); }

 private:
  /// sums is [q_heads].
  void keep_lines(const std::vector<cpu::LineSums>& sums, MaskView mask) const {
#pragma omp parallel for schedule(dynamic)
    for (int head = 0; head < mask.heads; ++head) {
      const auto columns = strongest(sums[head].column, std::max(kLeastColumns, scaled(vertical_, head)), sink_);
      const auto offsets = strongest(sums[head].offset, std::max(kLeastOffsets, scaled(slash_, head)), local_);
      for (int qb = 0; qb < mask.grid.q_blocks(); ++qb) keep_block(columns, offsets, head, qb, mask);
    }
  }

  /// The authors' merge, from the longest distance to the shortest. Ends of ranges count from the end of the block of
  /// 64 rows, even if it has fewer.
  static void keep_block(const std::vector<int>& columns, const std::vector<int>& offsets, int head, int qb,
                         MaskView mask) {
    const int visible = mask.grid.causal_end(qb);
    const int block_end = mask.grid.position(mask.grid.q_begin(qb)) + kBlock;
    int begin = 0, end = 0;  // the range being grown
    const auto reachable = std::ranges::lower_bound(offsets, block_end);
    for (auto offset = std::make_reverse_iterator(reachable); offset != offsets.rend(); ++offset) {
      const int next_end = std::max(block_end - *offset, kBlock);
      if (end == 0 || next_end > end + kBlock) {
        mask.keep_range(head, qb, begin, end);
        begin = next_end - kBlock, end = next_end;
      } else if (next_end > end) {
        end += kBlock;  // whole, so up to 63 keys more than the distance asks for
      }
    }
    mask.keep_range(head, qb, begin, std::min(end, visible));
    for (const int column : columns)
      if (column < begin) mask.keep(head, qb, column);
  }

  int scaled(int size, int head) const {
    return int(std::lround(std::min(scale_[head] * size, 1e9)));
  }
};

SALEBENCH_METHOD(VerticalSlash, "vertical_slash", 1,
                 "MInference: columns and diagonals that the last queries attend to");

}  // namespace salebench
