// SALE with a cheaper scan: the relative attention score of SALE (arXiv 2505.24179), from means of adjacent queries and
// keys, fewer rows, fewer channels or fewer bits. No paper has it; it is this project's, for chips without 4-bit
// products.
//   L_i: log-sum-exp of a row over its sink and local keys, exact, then its mean over the rows that are pooled.
//   max:  the largest exp(scale q_i . k_j - L_i) of a tile, as SALE.
//   mass: the mean over a tile's rows of the sum over its keys of key_pool * exp(scale q_i . k_j - L_i), as each pooled
//         key stands for key_pool keys: an estimate of the tile's attention mass relative to sink and local keys. A
//         mean hides what varies inside a pool, so the estimate is low (Jensen); thresholds are calibrated for a scan.
// Sink, local and middle key blocks and short inputs: as sale (sale_geometry.h).
#include <cmath>
#include <optional>

#include "core/registry.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/key_smoothing.h"
#include "kernels/cpu/sale_pooled.h"
#include "methods/sale/sale_geometry.h"
#include "methods/sale/sale_reduce.h"
#include "methods/shared/budget.h"
#include "methods/shared/logits.h"

namespace salebench {

class SalePooled : public Method {
  Knob threshold_{.value = 1e-4, .typical = {1e-3, 1e-4, 1e-5}, .larger = Knob::Trend::keeps_less};
  BlockSize block_{128, 32};
  enum class Score { max, mass } score_ = Score::mass;
  int row_pool_ = 4, key_pool_ = 2, row_stride_ = 1;
  int channel_parts_ = 1;                 // of head_dim, one of these is scanned
  std::optional<cpu::RowFormat> format_;  // none: exact
  int local_blocks_ = 4;
  enum class Scaling { none, inverse_length } threshold_scaling_ = Scaling::none;

 public:
  Params params() override {
    return {{"threshold", "relative score that keeps a tile; at 0 the head is dense", 0.0, 1.0, &threshold_},
            calibration_file("thresholds", &threshold_),
            {"block", "tile: query rows x keys", block_choices(), &block_},
            {"score",
             "largest relative score, or summed over keys and averaged over rows",
             {{"max", Score::max}, {"mass", Score::mass}},
             &score_},
            {"row_pool",
             "adjacent query rows that become their mean",
             {{"1", 1}, {"2", 2}, {"4", 4}, {"8", 8}},
             &row_pool_},
            {"key_pool", "adjacent keys that become their mean", {{"1", 1}, {"2", 2}, {"4", 4}, {"8", 8}}, &key_pool_},
            {"row_stride", "scan every n-th pooled row", {{"1", 1}, {"2", 2}, {"4", 4}}, &row_stride_},
            {"channels",
             "rotated channels that are scanned, of head_dim",
             {{"all", 1}, {"1/2", 2}, {"1/4", 4}, {"1/8", 8}},
             &channel_parts_},
            {"precision",
             "of the scanned operands, one scale a row",
             {{"exact", std::nullopt}, {"8", cpu::RowFormat::int8}, {"fp8", cpu::RowFormat::fp8}},
             &format_},
            {"local_blocks", "least number of latest 32-key blocks always kept; for 128 rows 2 more", 1, 4096,
             &local_blocks_},
            {"threshold_scaling",
             "inverse_length: threshold * 8192 / kv_len",
             {{"none", Scaling::none}, {"inverse_length", Scaling::inverse_length}},
             &threshold_scaling_}};
  }
  BlockSize block() const override { return block_; }
  bool honours_sliding_window() const override { return true; }
  About about() const override {
    return {
        "this project, after SALE (arXiv 2505.24179)",
        "logits of pooled queries and keys against the mean log-sum-exp of the pooled rows over sink and local keys",
        "tiles whose largest relative score, or relative mass, reaches the threshold, sink and local blocks",
        "not a published method; a float scan on every precision, so that only the reduction shows in the CPU time"};
  }

  bool causal_only() const override { return true; }
  std::string remark(const Shape& shape) const override {
    return sale::short_input(shape)                              ? "dense: at most 1024 tokens"
           : threshold_.of_head.empty() && threshold_.value <= 0 ? "dense: threshold 0"
                                                                 : "";
  }

  void select(const HostProblem& original, MaskView mask) const override {
    if (sale::short_input(original.shape)) return keep_causal(mask);
    const std::vector<float> keys = cpu::smooth_keys(original);
    HostProblem p = original;
    p.k = keys;
    for (int head = 0; head < mask.heads; ++head) {
      if (dense_head(head)) {
        keep_causal(mask, head);
        continue;
      }
      const std::vector<cpu::ScanRange> middle = sale::keep_sink_and_local(mask, head, local_blocks_);
      std::vector<float> lse;
      for (int i = 0; i < p.shape.q_len; ++i) lse.push_back(float(sale::kept_lse(p, mask, head, i)));
      const std::vector<float> row_lse = sale::reduce_rows(lse, reduction(p.shape));
      const sale::ReducedHead reduced = sale::reduce(p, head, reduction(p.shape));
      for (int qb = 0; qb < mask.grid.q_blocks(); ++qb)
        for (int kb = middle[qb].begin; kb < middle[qb].end; ++kb)
          if (tile_score(reduced, row_lse, p.scale, qb, kb) >= log_threshold(p.shape, head)) mask.keep(head, qb, kb);
    }
  }

  void select_fast(const HostProblem& original, MaskView mask) const override {
    if (sale::short_input(original.shape)) return keep_causal(mask);
    const std::vector<float> means = cpu::key_means(original);
    std::vector<float>& keys = cpu::Workspace::of_thread().get<SmoothedKeys>().values;
    cpu::smooth_keys(original, means, keys);
    HostProblem p = original;
    p.k = keys;
    std::vector<cpu::ScanRange> middle;
    for (int head = 0; head < mask.heads; ++head) middle = sale::keep_sink_and_local(mask, head, local_blocks_);
    std::vector<float> lse(std::size_t(p.shape.q_heads) * p.shape.q_len);
    // On the original K, whose values are often of 16 bits, for which the kernel needs fewer products.
    cpu::block_sparse_attention(original, mask, {{}, lse});
    cpu::shift_lse(original, means, -1, lse);
    for (int head = 0; head < mask.heads; ++head) {
      if (dense_head(head)) {
        keep_causal(mask, head);
        continue;
      }
      const std::vector<float> row_lse =
          sale::reduce_rows({&lse[std::size_t(head) * p.shape.q_len], std::size_t(p.shape.q_len)}, reduction(p.shape));
      const sale::ReducedHead reduced = sale::reduce(p, head, reduction(p.shape));
      const std::vector<float> score = cpu::reduced_tile_scores(
          {reduced.dim, reduced.rows, rows_per_block(), reduced.keys, tile_keys(), reduced.q, reduced.k, row_lse,
           p.scale},
          score_ == Score::max ? cpu::TileScore::max : cpu::TileScore::mass, mask.grid, middle);
      const double least = log_threshold(p.shape, head) - log_keys_of_key();
      for (int qb = 0; qb < mask.grid.q_blocks(); ++qb)
        for (int kb = middle[qb].begin; kb < middle[qb].end; ++kb)
          if (score[std::size_t(qb) * mask.grid.k_blocks() + kb] >= least) mask.keep(head, qb, kb);
    }
  }

 private:
  struct SmoothedKeys {
    std::vector<float> values;  ///< kept from call to call
  };

  /// ln of a tile's relative score.
  double tile_score(const sale::ReducedHead& x, const std::vector<float>& row_lse, float scale, int qb, int kb) const {
    double largest = -std::numeric_limits<double>::infinity(), sum = 0;
    const int begin = qb * rows_per_block(), end = std::min(x.rows, begin + rows_per_block());
    for (int i = begin; i < end; ++i)
      for (int j = kb * tile_keys(); j < (kb + 1) * tile_keys(); ++j) {
        const double product = dot(&x.q[std::size_t(i) * x.dim], &x.k[std::size_t(j) * x.dim], x.dim);
        const double relative = scale * product - row_lse[i];
        largest = std::max(largest, relative);
        sum += std::exp(relative);
      }
    return score_ == Score::max ? largest : std::log(sum / (end - begin)) + log_keys_of_key();
  }

  /// What a pooled key counts for in the mass: as many keys as it stands for.
  double log_keys_of_key() const { return score_ == Score::mass ? std::log(double(key_pool_)) : 0.0; }

  sale::Reduction reduction(const Shape& shape) const {
    return {row_pool_, row_stride_, key_pool_, std::max(1, shape.head_dim / channel_parts_), format_};
  }
  int rows_per_block() const { return block().q / row_pool_ / row_stride_; }
  int tile_keys() const { return block().k / key_pool_; }

  double log_threshold(const Shape& shape, int head) const {
    return sale::log_threshold(threshold_[head], threshold_scaling_ == Scaling::inverse_length, shape.kv_len);
  }
  bool dense_head(int head) const { return threshold_[head] <= 0; }
};

SALEBENCH_METHOD(SalePooled, "sale_pooled", 1, "SALE's score from pooled queries and keys: a scan of an eighth");

}  // namespace salebench
