// Quest's page bound (arXiv 2406.10774) in a prefill form. A page of keys is scored by the most that q . k can be
// between its channel-wise minimum and maximum:
//   U(q, page) = sum_d max(q_d min_d, q_d max_d) = relu(q) . max - relu(-q) . min
// The bounds of a query block's 64 rows are reduced to their maximum or mean, and the best pages kept up to a budget.
#include <limits>

#include "core/registry.h"
#include "kernels/cpu/key_max.h"
#include "kernels/cpu/packed.h"
#include "methods/shared/budget.h"

namespace salebench {
namespace {

/// Channel-wise bounds of the pages of one KV head, each [pages, head_dim].
struct PageBounds {
  std::vector<float> low, high;
};

PageBounds page_bounds(const HostProblem& p, int kv_head, const BlockGrid& grid) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::size_t dim = p.shape.head_dim, size = grid.k_blocks() * dim;
  PageBounds pages{std::vector<float>(size, kInfinity), std::vector<float>(size, -kInfinity)};
  for (int key = 0; key < p.shape.kv_len; ++key)
    for (std::size_t d = 0; d < dim; ++d) {
      const float value = p.k_head(kv_head)[key * dim + d];
      float& low = pages.low[key / grid.block.k * dim + d];
      float& high = pages.high[key / grid.block.k * dim + d];
      low = std::min(low, value), high = std::max(high, value);
    }
  return pages;
}

}  // namespace

class Quest : public Method {
  Knob budget_{.value = 0.2, .typical = {0.1, 0.2, 0.4}};
  int page_ = 16;
  enum class Reduce { max, mean } reduce_ = Reduce::max;

 public:
  Params params() override {
    return {{"budget", "fraction of a query block's causal pages that is kept", 0.0, 1.0, &budget_},
            calibration_file("budgets", &budget_),
            {"page", "keys of a page", 1, 1 << 12, &page_},
            {"reduce",
             "how the bounds of a query block's 64 rows become one",
             {{"max", Reduce::max}, {"mean", Reduce::mean}},
             &reduce_}};
  }
  BlockSize block() const override { return {64, page_}; }
  bool honours_sliding_window() const override { return true; }
  About about() const override {
    return {
        "Quest (arXiv 2406.10774), authors' code at 01c1623, in a prefill form",
        "each query against the channel-wise minimum and maximum of a page's keys, reduced over 64 rows",
        "the best pages of each query block, up to a share of its causal pages, the diagonal inside",
        "64 query rows share their pages where Quest selects for one decoding query and runs prefill and the first two "
        "layers dense; a share of causal pages instead of a token count of at least 3 pages"};
  }

  void select(const HostProblem& p, MaskView mask) const override {
    const BlockGrid& grid = mask.grid;
    const int dim = p.shape.head_dim;
    for (int head = 0; head < mask.heads; ++head) {
      const PageBounds pages = page_bounds(p, p.shape.kv_head_of(head), grid);
      for (int qb = 0; qb < grid.q_blocks(); ++qb) {
        std::vector<float> score(grid.causal_end(qb));
        for (int kb = grid.visible_begin(qb); kb < grid.causal_end(qb); ++kb) {
          double most = -std::numeric_limits<double>::infinity(), sum = 0;
          for (int row = grid.q_begin(qb); row < grid.q_end(qb); ++row) {
            double bound = 0;
            for (int d = 0; d < dim; ++d) {
              const float q = p.q_head(head)[std::size_t(row) * dim + d];
              bound += std::max(q * pages.low[std::size_t(kb) * dim + d], q * pages.high[std::size_t(kb) * dim + d]);
            }
            most = std::max(most, bound), sum += bound;
          }
          score[kb] = float(reduce_ == Reduce::max ? most : sum);
        }
        keep_pages(score, head, qb, mask);
      }
    }
  }

  /// The bound as one product of twice the width: [relu(q), relu(-q)] . [max, -min]. Being linear in the left vector,
  /// its mean over rows is the bound of their mean.
  void select_fast(const HostProblem& p, MaskView mask) const override {
    const BlockGrid& grid = mask.grid;
    const int dim = p.shape.head_dim;
    const std::vector<cpu::PackedHead> pages = packed_pages(p, grid);
#pragma omp parallel for collapse(2) schedule(dynamic)
    for (int qb = grid.q_blocks() - 1; qb >= 0; --qb) {
      for (int head = 0; head < mask.heads; ++head) {
        const int rows = grid.q_end(qb) - grid.q_begin(qb);
        std::vector<float> split(std::size_t(cpu::kRowTile) * 2 * dim);  // [64, 2 head_dim]
        for (int r = 0; r < rows; ++r) {
          const float* const q = p.q_head(head) + std::size_t(grid.q_begin(qb) + r) * dim;
          float* const out = &split[reduce_ == Reduce::max ? std::size_t(r) * 2 * dim : 0];
          for (int d = 0; d < dim; ++d) out[d] += std::max(q[d], 0.0f), out[dim + d] += std::max(-q[d], 0.0f);
        }
        std::vector<float> score(cpu::round_up(grid.causal_end(qb), cpu::kPanelKeys));
        cpu::key_max(split.data(), reduce_ == Reduce::max ? rows : 1, 2 * dim, pages[p.shape.kv_head_of(head)], score);
        keep_pages(score, head, qb, mask);
      }
    }
  }

 private:
  /// [max, -min] of each page as keys of 2 head_dim.
  static std::vector<cpu::PackedHead> packed_pages(const HostProblem& p, const BlockGrid& grid) {
    const int dim = p.shape.head_dim;
    ProblemTensors pages;
    pages.shape = {p.shape.kv_heads, p.shape.kv_heads, 1, grid.k_blocks(), 2 * dim};
    for (int h = 0; h < p.shape.kv_heads; ++h) {
      const PageBounds bounds = page_bounds(p, h, grid);
      for (std::size_t page = 0; page < std::size_t(grid.k_blocks()); ++page) {
        pages.k.insert(pages.k.end(), &bounds.high[page * dim], &bounds.high[page * dim] + dim);
        for (int d = 0; d < dim; ++d) pages.k.push_back(-bounds.low[page * dim + d]);
      }
    }
    return cpu::pack_heads(pages.view(), false);
  }

  void keep_pages(std::span<const float> score, int head, int q_block, MaskView mask) const {
    keep_best(score, budget_[head], {.sink = 0, .local = 1}, head, q_block, mask);
  }
};

SALEBENCH_METHOD(Quest, "quest", 2, "Quest's page bounds in a prefill form: 64 rows share the best pages");

}  // namespace salebench
