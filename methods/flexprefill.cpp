// FlexPrefill (arXiv 2502.20766): as many 128-key columns and 128-wide diagonals as the attention of the last 128
// queries needs to reach `gamma`, head by head. A head whose block means predict that attention well (Jensen-Shannon
// distance below tau) is query-aware: the least budget of lines, and the tiles that pooled attention needs for gamma.
//
// Defaults: gamma 0.9, tau 0.1, at least 1024 tokens of each kind of line, dense up to that length.
//
// As in the authors' code: gamma counts single keys and distances, in units of 128. Diagonals are grouped from the
// longest distance on, so unless 128 divides kv_len the nearest group is a short one. Group s stands for the tiles s
// blocks before the diagonal, though its distances reach one block further.
#include <fmt/format.h>

#include <limits>

#include "core/registry.h"
#include "kernels/cpu/pooling.h"
#include "methods/shared/budget.h"
#include "methods/shared/last_queries.h"
#include "methods/shared/logits.h"

namespace salebench {
namespace {

constexpr int kBlock = 128;

int blocks_of(int tokens) {
  return (tokens + kBlock - 1) / kBlock;
}

/// Blocks for the keys or distances that reach gamma, the crossing one included.
int blocks_within(std::vector<float> values, double gamma) {
  std::ranges::sort(values, std::ranges::greater());
  return (count_to_share(values, gamma, Crossing::left) + 1) / kBlock + 1;
}

/// Softmax of `scale` times the products of q [dim] with the first `count` rows of k [.., dim].
std::vector<float> softmax_products(const float* q, const float* k, int count, int dim, double scale) {
  std::vector<double> weight;
  for (int j = 0; j < count; ++j) weight.push_back(scale * dot(q, k + std::size_t(j) * dim, dim));
  softmax(std::span(weight));
  return {weight.begin(), weight.end()};
}

/// Square root of the Jensen-Shannon divergence; not a number if a value is 0, as in the authors' code.
double js_distance(const std::vector<float>& p, const std::vector<float>& q) {
  double sum = 0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    if (p[i] == 0 || q[i] == 0) return std::numeric_limits<double>::quiet_NaN();
    const double middle = (double(p[i]) + q[i]) / 2;
    sum += 0.5 * (p[i] * std::log(p[i] / middle) + q[i] * std::log(q[i] / middle));
  }
  return std::sqrt(std::max(0.0, sum));
}

}  // namespace

class Flexprefill : public Method {
  Knob gamma_{.value = 0.9, .typical = {0.8, 0.9, 0.95}};
  double tau_ = 0.1;
  int min_budget_ = 1024;
  int max_budget_ = 0;

 public:
  Params params() override {
    return {
        {"gamma", "share of the last queries' attention that lines must reach; above 1 keeps all", 0.0, 1.01, &gamma_},
        calibration_file("gammas", &gamma_),
        {"tau", "Jensen-Shannon distance below which a head is query-aware", 0.0, 1.0, &tau_},
        {"min_budget", "least tokens of columns, and of diagonals", 1, 1 << 20, &min_budget_},
        {"max_budget", "most tokens of columns, and of diagonals; 0 for no limit", 0, 1 << 20, &max_budget_}};
  }
  BlockSize block() const override { return {kBlock, kBlock}; }
  About about() const override {
    return {"FlexPrefill (arXiv 2502.20766), authors' code at a24b27b",
            "softmax of the last 128 queries against all keys; in query-aware heads mean query . mean key of all tiles",
            "columns and diagonals of tiles up to a share of that attention; in query-aware heads tiles up to a share "
            "of pooled attention",
            "float32 instead of bfloat16; ties go to the lower index; in chunked prefill the last queries are the "
            "chunk's and a diagonal covers the key blocks that its rows' positions fall in"};
  }
  bool causal_only() const override { return true; }
  void check_shape(const Shape&) const override {
    if (max_budget_ != 0 && max_budget_ < min_budget_)
      throw Unsupported(fmt::format("max_budget {} is less than min_budget {}", max_budget_, min_budget_));
  }
  std::string remark(const Shape& shape) const override {
    return short_input(shape) ? "dense: one query, or no longer than the least budget" : "";
  }

  void select(const HostProblem& p, MaskView mask) const override {
    if (short_input(p.shape)) return keep_causal(mask);
    std::vector<cpu::LineSums> sums;
    for (int head = 0; head < mask.heads; ++head) sums.push_back(plain_line_sums(p, head, kBlock));
    keep_heads(p, sums, mask);
  }

  void select_fast(const HostProblem& p, MaskView mask) const override {
    if (short_input(p.shape)) return keep_causal(mask);
    keep_heads(p, cpu::line_sums(p, kBlock), mask);
  }

 private:
  bool short_input(const Shape& shape) const {
    return shape.q_len == 1 || shape.kv_len <= std::max(2 * kBlock, blocks_of(min_budget_) * kBlock);
  }

  void keep_heads(const HostProblem& p, const std::vector<cpu::LineSums>& sums, MaskView mask) const {
    std::vector<std::vector<float>> keys;  // [kv_heads] of [k_blocks, head_dim]
    for (int h = 0; h < p.shape.kv_heads; ++h)
      keys.push_back(cpu::mean_pool(p.k_head(h), p.shape.kv_len, p.shape.head_dim, kBlock));
#pragma omp parallel for schedule(dynamic)
    for (int head = 0; head < mask.heads; ++head) keep_head(p, sums[head], keys[p.shape.kv_head_of(head)], head, mask);
  }

  /// keys: the means of key blocks, [k_blocks, head_dim].
  void keep_head(const HostProblem& p, const cpu::LineSums& sums, const std::vector<float>& keys, int head,
                 MaskView mask) const {
    const int blocks = mask.grid.k_blocks();
    const int rows = std::min(kBlock, p.shape.q_len);
    std::vector<float> key_share = sums.column, offset_share = sums.offset;  // of the last queries' attention
    for (auto* share : {&key_share, &offset_share})
      for (float& x : *share) x /= float(rows);
    std::vector<float> vertical(blocks), slash(blocks);
    for (int i = 0; i < p.shape.kv_len; ++i) {
      vertical[i / kBlock] += key_share[i];
      slash[blocks - 1 - (p.shape.kv_len - 1 - i) / kBlock] += offset_share[i];
    }
    const bool query_aware = js_distance(predicted(p, keys, head, rows), vertical) < tau_;
    const int least = std::min(blocks_of(min_budget_), blocks);
    const int most = max_budget_ == 0 ? blocks : std::min(blocks_of(max_budget_), blocks);
    const auto lines = [&](const std::vector<float>& share) {
      return query_aware ? least : std::min(std::max(blocks_within(share, gamma_[head]), least), most);
    };
    keep_columns(strongest(vertical, lines(key_share), 1), head, mask);
    keep_diagonals(strongest(slash, lines(offset_share), 1), head, mask);
    if (query_aware) keep_pooled(p, keys, head, mask);
  }

  /// What block means say of the last queries' attention: softmax of their mean against the mean keys, [k_blocks].
  static std::vector<float> predicted(const HostProblem& p, const std::vector<float>& keys, int head, int rows) {
    const int dim = p.shape.head_dim;
    const float* const last = p.q_head(head) + std::size_t(p.shape.q_len - rows) * dim;
    const std::vector<float> query = cpu::mean_pool(last, rows, dim, kBlock);
    return softmax_products(query.data(), keys.data(), int(keys.size()) / dim, dim, p.scale);
  }

  static void keep_columns(const std::vector<int>& columns, int head, MaskView mask) {
    for (int qb = 0; qb < mask.grid.q_blocks(); ++qb)
      for (const int kb : columns)
        if (kb < mask.grid.causal_end(qb)) mask.keep(head, qb, kb);
  }

  static void keep_diagonals(const std::vector<int>& diagonals, int head, MaskView mask) {
    const BlockGrid& grid = mask.grid;
    for (int qb = 0; qb < grid.q_blocks(); ++qb)
      for (const int s : diagonals)
        mask.keep_range(head, qb, std::max(0, grid.diagonal_begin(qb) - s), grid.diagonal_end(qb) - s);
  }

  /// The heaviest tiles of the pooled attention map of all rows together, while their sum is at most gamma x rows.
  void keep_pooled(const HostProblem& p, const std::vector<float>& keys, int head, MaskView mask) const {
    struct Tile {
      float share;
      int qb, kb;
    };
    const BlockGrid& grid = mask.grid;
    const int dim = p.shape.head_dim;
    const std::vector<float> queries = cpu::mean_pool(p.q_head(head), p.shape.q_len, dim, kBlock);
    std::vector<Tile> tiles;
    for (int qb = 0; qb < grid.q_blocks(); ++qb) {
      const auto row =
          softmax_products(&queries[std::size_t(qb) * dim], keys.data(), grid.causal_end(qb), dim, p.scale);
      for (int kb = 0; kb < int(row.size()); ++kb) tiles.push_back({row[kb], qb, kb});
    }
    std::ranges::stable_sort(tiles, std::ranges::greater(), &Tile::share);
    std::vector<float> shares;
    for (const Tile& tile : tiles) shares.push_back(tile.share);
    tiles.resize(count_to_share(shares, gamma_[head] * grid.q_blocks(), Crossing::left));
    for (const Tile& tile : tiles) mask.keep(head, tile.qb, tile.kb);
  }
};

SALEBENCH_METHOD(Flexprefill, "flexprefill", 1, "FlexPrefill: lines or pooled tiles up to a share of attention");

}  // namespace salebench
