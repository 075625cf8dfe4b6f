// SpargeAttn (arXiv 2502.18137): mean-pooled scores decide where a block's tokens are alike, and all else is kept.
//   Q blocks of 128 and K blocks of 64 (K less its token mean) are alike if the mean cosine over all pairs of their
//   tokens, ||mean of unit vectors||^2, exceeds simthreshd1. A block that is not keeps its whole row or column.
//   Over the others: P = softmax(mean q . mean k * scale) of each row, and of its tiles, best first and at least one,
//     topk: floor(budget * key blocks of the whole row width);  cdf: those whose running sum of P stays <= budget.
// Defaults are those of the authors' topk call, which their README recommends: simthreshd1 -0.1, topk 0.5. Their cdf
// call has simthreshd1 0.6, cdf 0.98. The diagonal is not forced. Second stage (pv_threshold, in their calls 50, which
// is as good as off): 32 rows skip a kept tile if no score there comes within pv_threshold (log2) of its row's maximum;
// the last two listed tiles, which the diagonal may cross, are never skipped.
// As in the authors' code, a partial block is 0/0 and so not alike, and rows may be left without any key.
#include <cmath>
#include <numeric>

#include "core/registry.h"
#include "kernels/cpu/key_smoothing.h"
#include "kernels/cpu/pooling.h"
#include "kernels/cpu/skip_attention.h"
#include "methods/shared/logits.h"

namespace salebench {
namespace {

constexpr double kPvOff = 50;  // what the authors pass for no second stage

/// The blocks of one head.
struct Blocks {
  std::vector<float> mean;  // [blocks, dim]
  std::vector<char> alike;  // [blocks]
};

/// The mean over all pairs of rows of x [rows, dim] of their cosine; not a number with a zero row.
double mean_cosine(const float* x, int rows, int dim) {
  std::vector<double> sum(dim);
  for (int i = 0; i < rows; ++i) {
    const float* const row = x + std::size_t(i) * dim;
    const double length = std::sqrt(std::inner_product(row, row + dim, row, 0.0));
    for (int d = 0; d < dim; ++d) sum[d] += row[d] / length;
  }
  return std::inner_product(sum.begin(), sum.end(), sum.begin(), 0.0) / (double(rows) * rows);
}

Blocks summarize(const float* x, int rows, int dim, int block, double threshold) {
  Blocks blocks{cpu::mean_pool(x, rows, dim, block), {}};
  const int count = int(blocks.mean.size()) / dim;
  blocks.alike.resize(count);
#pragma omp parallel for
  for (int b = 0; b < rows / block; ++b)  // a partial block stays not alike
    blocks.alike[b] = mean_cosine(x + std::size_t(b) * block * dim, block, dim) > threshold;
  return blocks;
}

/// A tile of a row: minus its score, and its key block, so that ascending is best first.
using ScoredTile = std::pair<float, int>;

/// How many of the sorted tiles have a running sum of the row's softmax of at most `mass`.
int within_mass(const std::vector<ScoredTile>& sorted, double mass) {
  std::vector<double> weight;
  for (const ScoredTile& tile : sorted) weight.push_back(-tile.first);
  softmax(std::span(weight));
  return count_to_share(weight, mass, Crossing::left);
}

}  // namespace

class Sparge : public Method {
  Knob budget_{.value = 0.5, .typical = {0.3, 0.5, 0.7}};
  enum class Mode { topk, cdf } mode_ = Mode::topk;
  double simthreshd1_ = -0.1;
  bool attention_sink_ = false;
  double pv_threshold_ = kPvOff;

 public:
  Params params() override {
    return {{"budget", "topk: share of the whole row width (authors: 0.5); cdf: pooled softmax mass (authors: 0.98)",
             0.0, 1.0, &budget_},
            calibration_file("budgets", &budget_),
            {"mode", "how a row's tiles are counted", {{"topk", Mode::topk}, {"cdf", Mode::cdf}}, &mode_},
            {"simthreshd1", "mean cosine above which a block is pooled (authors: -0.1 with topk, 0.6 with cdf)", -1.0,
             1.0, &simthreshd1_},
            {"attention_sink", "always keep key block 0", &attention_sink_},
            {"pv_threshold", "log2 distance to the running maximum at which 32 rows skip a kept tile; 50: off", 0.0,
             kPvOff, &pv_threshold_}};
  }
  BlockSize block() const override { return {128, 64}; }
  bool honours_sliding_window() const override { return true; }
  bool keeps_diagonal() const override { return false; }
  bool exact_attend() const override { return !skips() && Method::exact_attend(); }
  bool shared_attend() const override { return !skips() && Method::shared_attend(); }
  void check_shape(const Shape&) const override {
    if (skips() && arithmetic() != Arithmetic::exact) throw Unsupported("pv_threshold works with attend: exact alone");
  }
  About about() const override {
    return {
        "SpargeAttn (arXiv 2502.18137), authors' code at bfd980b",
        "mean query . mean key of a tile, and the mean cosine within a block",
        "best pooled tiles up to a count or a softmax mass (the crossing tile excluded), and whole rows and columns "
        "of blocks whose tokens are not alike; the diagonal is not forced",
        "float32 attention by default, not int8 QK and fp8 or fp16 PV (attend: int8 or fp8 come near); one knob for "
        "both modes; similarity from float32 unit "
        "vectors; tiles on the diagonal are masked, which the authors' sage2 calls leave out; blocks of 128 x 64 "
        "everywhere, where their Hopper kernel has 64 x 128"};
  }
  std::string remark(const Shape&) const override {
    return !skips() ? "" : "kept tiles that the second stage skips still count in the density";
  }

  void select(const HostProblem& p, MaskView mask) const override {
    const BlockGrid& grid = mask.grid;
    const int dim = p.shape.head_dim;
    const std::vector<float> smooth = cpu::smooth_keys(p);
    std::vector<Blocks> keys;  // [kv_heads]
    for (int h = 0; h < p.shape.kv_heads; ++h)
      keys.push_back(summarize(&smooth[h * p.kv_head_size()], p.shape.kv_len, dim, grid.block.k, simthreshd1_));
    for (int head = 0; head < mask.heads; ++head) {
      const Blocks queries = summarize(p.q_head(head), p.shape.q_len, dim, grid.block.q, simthreshd1_);
      const Blocks& head_keys = keys[p.shape.kv_head_of(head)];
#pragma omp parallel for schedule(dynamic)
      for (int qb = 0; qb < grid.q_blocks(); ++qb) {
        if (attention_sink_ && grid.visible_begin(qb) == 0) mask.keep(head, qb, 0);
        if (queries.alike[qb])
          select_row(p, &queries.mean[std::size_t(qb) * dim], head_keys, head, qb, mask);
        else
          mask.keep_range(head, qb, grid.visible_begin(qb), grid.causal_end(qb));
      }
    }
  }

  void attend(const HostProblem& p, ConstMaskView mask, AttentionView out) const override {
    if (!skips()) return Method::attend(p, mask, out);
    const std::vector<float> reach(p.shape.q_heads, float(-pv_threshold_));
    // The authors' loop leaves its last two tiles, which the diagonal may cross, to code that never skips.
    cpu::skip_attention(p, mask, {.reach = reach, .group_rows = 32, .always_last = 2}, out);
  }

 private:
  bool skips() const {
    return pv_threshold_ < kPvOff;
  }

  void select_row(const HostProblem& p, const float* query, const Blocks& keys, int head, int qb, MaskView mask) const {
    std::vector<ScoredTile> tiles;
    for (int kb = mask.grid.visible_begin(qb); kb < mask.grid.causal_end(qb); ++kb) {
      if (!keys.alike[kb]) {
        mask.keep(head, qb, kb);
        continue;
      }
      const float* const key = &keys.mean[std::size_t(kb) * p.shape.head_dim];
      tiles.emplace_back(-dot<float>(query, key, p.shape.head_dim) * p.scale, kb);
    }
    if (tiles.empty()) return;
    std::ranges::sort(tiles);
    const int wanted = std::max(1, mode_ == Mode::cdf ? within_mass(tiles, budget_[head])
                                                      // The small term keeps 0.29 * 100 blocks at 29.
                                                      : int(std::floor(budget_[head] * mask.grid.k_blocks() + 1e-9)));
    for (int i = 0; i < std::min(wanted, int(tiles.size())); ++i) mask.keep(head, qb, tiles[i].second);
  }
};

SALEBENCH_METHOD(Sparge, "sparge", 1, "SpargeAttn: pooled scores where a block's tokens are alike, all else kept");

}  // namespace salebench
