// FlashPrefill (arXiv 2603.06199), version 1: every query row against the mean key of each block of 128. A row takes
// part in a block's score only if it sees the whole block. Energy of a tile, with one maximum m for the query block,
//   E_c = sum over rows of exp(scale * q_i . mean k_c - m),   kept iff E_c >= alpha * max over c of E_c,
// so that rows with high logits count for more than in a softmax of each row. Always kept: the first 2 key blocks, the
// 4 latest ones, and all tiles of the last 2 query blocks.
// Defaults: alpha 0.18, the authors' for Llama-3.1-8B (Qwen2.5-7B 0.08, Qwen3-30B 0.12; 0.7 is the function's own).
#include <cmath>
#include <limits>

#include "core/registry.h"
#include "kernels/cpu/pooling.h"
#include "kernels/cpu/row_scores.h"
#include "kernels/cpu/workspace.h"
#include "methods/shared/logits.h"

namespace salebench {

class FlashPrefill : public Method {
  Knob alpha_{.value = 0.18, .typical = {0.3, 0.18, 0.08}, .larger = Knob::Trend::keeps_less};
  int sink_ = 2;
  int window_ = 4;
  int last_dense_ = 2;

 public:
  Params params() override {
    return {{"alpha", "share of its query block's largest tile energy that keeps a tile", 0.0, 1.0, &alpha_},
            calibration_file("alphas", &alpha_),
            {"sink", "leading key blocks always kept", 0, 1024, &sink_},
            {"window", "latest key blocks always kept, the diagonal included", 1, 1024, &window_},
            {"last_dense", "last query blocks that keep everything", 0, 1024, &last_dense_}};
  }
  BlockSize block() const override { return {128, 128}; }
  bool honours_sliding_window() const override { return true; }
  About about() const override {
    return {
        "FlashPrefill v1 (arXiv 2603.06199), authors' code at 74e42f3",
        "every query row against the mean key of each block",
        "tiles whose energy reaches a share of the query block's largest, sink and window blocks, the last query "
        "blocks",
        "float32 mean keys; rows past the end take no part; in chunked prefill the window counts from the first key "
        "block that holds a row's own token"};
  }
  bool causal_only() const override { return true; }

  void select(const HostProblem& p, MaskView mask) const override {
    const std::vector<float> pooled = pool_keys(p, mask.grid);
    const int dim = p.shape.head_dim;
    select_by(mask, [&](int head, int qb, int blocks, int stride, std::vector<float>& scores) {
      const float* const keys = &pooled[std::size_t(p.shape.kv_head_of(head)) * mask.grid.k_blocks() * dim];
      for (int row = mask.grid.q_begin(qb); row < mask.grid.q_end(qb); ++row) {
        const float* const q = p.q_head(head) + std::size_t(row) * dim;
        for (int c = 0; c < blocks; ++c)
          scores[std::size_t(row - mask.grid.q_begin(qb)) * stride + c] =
              p.scale * dot<float>(q, &keys[std::size_t(c) * dim], dim);
      }
    });
  }

  void select_fast(const HostProblem& p, MaskView mask) const override {
    const std::vector<float> pooled = pool_keys(p, mask.grid);
    HostProblem means = p;  // its keys are the blocks
    means.shape.kv_len = mask.grid.k_blocks();
    means.k = pooled;
    const std::vector<cpu::PackedHead> packed = cpu::pack_heads(means, false);
    select_by(mask, [&](int head, int qb, int, int stride, std::vector<float>& scores) {
      std::vector<float>& queries = cpu::Workspace::of_thread().get<Queries>().values;
      const int begin = mask.grid.q_begin(qb), end = mask.grid.q_end(qb);
      cpu::pack_queries(p, head, begin, end, p.scale, queries);
      cpu::score_panels(queries.data(), end - begin, p.shape.head_dim, packed[p.shape.kv_head_of(head)], 0,
                        stride / cpu::kPanelKeys, scores.data());
    });
  }

 private:
  struct Queries {
    std::vector<float> values;  ///< kept from call to call
  };

  /// Mean key of each block, [kv_heads, k_blocks, head_dim].
  static std::vector<float> pool_keys(const HostProblem& p, const BlockGrid& grid) {
    std::vector<float> pooled;
    for (int h = 0; h < p.shape.kv_heads; ++h) {
      const auto means = cpu::mean_pool(p.k_head(h), p.shape.kv_len, p.shape.head_dim, grid.block.k);
      pooled.insert(pooled.end(), means.begin(), means.end());
    }
    return pooled;
  }

  /// score(head, query block, blocks, stride, scores) sets scores [rows padded, stride] of the first `blocks` blocks.
  template <class Score>
  void select_by(MaskView mask, const Score& score) const {
    const BlockGrid& grid = mask.grid;
#pragma omp parallel
    {
      std::vector<float> scores, energy;
#pragma omp for collapse(2) schedule(dynamic)
      for (int qb = grid.q_blocks() - 1; qb >= 0; --qb) {
        for (int head = 0; head < mask.heads; ++head) {
          const int blocks = grid.causal_end(qb), stride = cpu::round_up(blocks, cpu::kPanelKeys);
          keep_forced(mask, head, qb);
          scores.resize(std::size_t(grid.block.q) * stride);
          score(head, qb, blocks, stride, scores);
          add_energies(grid, qb, stride, scores, energy);
          const float most = *std::ranges::max_element(energy);
          for (int c = grid.visible_begin(qb); c < blocks; ++c)
            if (energy[c] >= alpha_[head] * most) mask.keep(head, qb, c);
        }
      }
    }
  }

  void keep_forced(MaskView mask, int head, int qb) const {
    const BlockGrid& grid = mask.grid;
    const int end = grid.causal_end(qb);
    const int begin = grid.visible_begin(qb);
    mask.keep_range(head, qb, begin, qb >= grid.q_blocks() - last_dense_ ? end : std::min(sink_, end));
    mask.keep_range(head, qb, std::max(begin, grid.diagonal_begin(qb) - window_ + 1), end);
  }

  /// energy [causal blocks] of a query block's tiles; all zero if no row sees a whole block.
  static void add_energies(const BlockGrid& grid, int qb, int stride, const std::vector<float>& scores,
                           std::vector<float>& energy) {
    const int rows = grid.q_end(qb) - grid.q_begin(qb);
    const auto first_whole = [&](int r) {
      return (grid.key_begin(grid.q_begin(qb) + r) + grid.block.k - 1) / grid.block.k;
    };
    const auto end_whole = [&](int r) { return grid.key_end(grid.q_begin(qb) + r) / grid.block.k; };
    float most = -std::numeric_limits<float>::infinity();
    for (int r = 0; r < rows; ++r)
      for (int c = first_whole(r); c < end_whole(r); ++c) most = std::max(most, scores[std::size_t(r) * stride + c]);
    energy.assign(grid.causal_end(qb), 0.0f);
    for (int r = 0; r < rows; ++r)
      for (int c = first_whole(r); c < end_whole(r); ++c)
        energy[c] += std::exp(scores[std::size_t(r) * stride + c] - most);
  }
};

SALEBENCH_METHOD(FlashPrefill, "flashprefill", 1, "FlashPrefill v1: tile energy of all query rows on mean keys");

}  // namespace salebench
