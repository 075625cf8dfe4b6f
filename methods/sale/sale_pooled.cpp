// SALE with a cheaper scan: the relative attention score of SALE (arXiv 2505.24179), from means of adjacent queries and
// keys, fewer rows, fewer channels or fewer bits. No paper has it; it is this project's, for chips without 4-bit
// products.
//   L_i:  log-sum-exp of pooled row i over the sink and local keys that the last of its rows sees, exact and unpooled.
//   max:  the largest exp(scale q_i . k_j - L_i) of a tile, as SALE.
//   mass: the mean over a tile's rows of the sum over its keys of key_pool * exp(scale q_i . k_j - L_i), as each pooled
//         key stands for key_pool keys: an estimate of the tile's attention mass relative to sink and local keys. A
//         mean hides what varies inside a pool, so the estimate is low (Jensen); thresholds are calibrated for a scan.
// The mean of the rows' own log-sum-exps in place of L_i costs more and kept as many tiles at equal error on
// Qwen2.5-Coder-0.5B at 32K; that of one of the rows kept up to a tenth more.
// Sink, local and middle key blocks and short inputs: as sale (sale_geometry.h).
#include <cmath>
#include <limits>
#include <optional>

#include "core/registry.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/key_smoothing.h"
#include "kernels/cpu/sale_pooled.h"
#include "kernels/cuda/select/sale_pooled.h"
#include "methods/sale/sale_geometry.h"
#include "methods/sale/sale_reduce.h"
#include "methods/shared/budget.h"
#include "methods/shared/logits.h"

namespace salebench {

class SalePooled : public Method {
  Knob threshold_{.value = 1e-4, .typical = {1e-3, 1e-4, 1e-5}, .larger = Knob::Trend::keeps_less};
  BlockSize block_{128, 32};
  enum class Score { max, mass };
  struct Scan {
    Score score = Score::mass;
    int row_pool = 4, key_pool = 2, row_stride = 1;
    int channel_parts = 1;                 // of head_dim, one of these is scanned
    std::optional<cpu::RowFormat> format;  // none: exact
  };
  Scan scan_;
  std::vector<Scan> scan_of_head_;  // [q_heads]; empty: scan_ for all
  int local_blocks_ = 4;
  enum class Scaling { none, inverse_length } threshold_scaling_ = Scaling::none;

 public:
  Params params() override {
    return {
        {"threshold", "relative score that keeps a tile; at 0 the head is dense", 0.0, 1.0, &threshold_},
        calibration_file("scans", &threshold_),
        {"block", "tile: query rows x keys", block_choices(), &block_},
        {"score",
         "largest relative score, or summed over keys and averaged over rows",
         {{"max", Score::max}, {"mass", Score::mass}},
         &scan_.score},
        {"row_pool",
         "adjacent query rows that become their mean",
         {{"1", 1}, {"2", 2}, {"4", 4}, {"8", 8}},
         &scan_.row_pool},
        {"key_pool", "adjacent keys that become their mean", {{"1", 1}, {"2", 2}, {"4", 4}, {"8", 8}}, &scan_.key_pool},
        {"row_stride", "scan every n-th pooled row", {{"1", 1}, {"2", 2}, {"4", 4}}, &scan_.row_stride},
        {"channels",
         "rotated channels that are scanned, of head_dim",
         {{"all", 1}, {"1/2", 2}, {"1/4", 4}, {"1/8", 8}},
         &scan_.channel_parts},
        {"precision",
         "of the scanned operands; scales are a row's, but fp8 has one for the keys of a head",
         {{"exact", std::nullopt}, {"8", cpu::RowFormat::int8}, {"fp8", cpu::RowFormat::fp8}},
         &scan_.format},
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
        "logits of pooled queries and keys against the log-sum-exp of the pooled query over sink and local keys",
        "tiles whose largest relative score, or relative mass, reaches the threshold, sink and local blocks",
        "not a published method; a float scan on every precision, so that only the reduction shows in the CPU time"};
  }

  std::vector<std::string> head_params() const override {
    return {"score", "row_pool", "key_pool", "row_stride", "channels", "precision"};
  }
  void set_head_settings(const std::vector<ParamValues>& of_head) override {
    scan_of_head_.clear();
    for (const ParamValues& values : of_head) {
      SalePooled scratch;
      Params all = scratch.params();
      set_params(all, values);
      scan_of_head_.push_back(scratch.scan_);
    }
  }
  /// Q K^T is half of dense attention.
  double selection_share() const override {
    const int parts = scan_.row_pool * scan_.key_pool * scan_.row_stride * scan_.channel_parts;
    return (scan_.format ? 0.25 : 0.5) / parts;
  }

  bool causal_only() const override { return true; }
  std::string remark(const Shape& shape) const override {
    return sale::short_input(shape)                              ? "dense: at most 1024 tokens"
           : threshold_.of_head.empty() && threshold_.value <= 0 ? "dense: threshold 0"
           : !scan_of_head_.empty()                              ? "heads have scans of their own"
                                                                 : "";
  }

  std::any device_side(const Shape& shape) const override {
    cuda::SalePooledSide side;
    side.local_blocks = local_blocks_, side.all_dense = sale::short_input(shape);
    for (int head = 0; head < shape.q_heads; ++head) {
      const Scan& scan = scan_of(head);
      side.scans.push_back({scan.score == Score::max ? cuda::PooledScan::Score::max : cuda::PooledScan::Score::mass,
                            scan.format ? cuda::PooledScan::Operands::fp8 : cuda::PooledScan::Operands::fp16,
                            scan.row_pool, scan.row_stride, scan.key_pool});
      const bool other = scan.channel_parts > 1 || scan.format == cpu::RowFormat::int8;
      if (!dense_head(head) && (other || cuda::why_unsupported(side.scans.back(), block_))) return {};
      side.log_thresholds.push_back(dense_head(head) ? -std::numeric_limits<float>::infinity()
                                                     : float(log_threshold(shape, head)));
    }
    return side;
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
      const Scan& scan = scan_of(head);
      const sale::Reduction reduction = reduction_of(scan, p.shape);
      const std::vector<float> rows = sale::pooled_rows(p, head, reduction);
      const sale::ReducedHead reduced = sale::reduce(p, head, reduction);
      std::vector<float> row_lse;
      for (int i = 0; i < reduced.rows; ++i)
        row_lse.push_back(float(sale::kept_lse(p, mask, head, sale::last_token(i, reduction, p.shape.q_len),
                                               &rows[std::size_t(i) * p.shape.head_dim])));
      for (int qb = 0; qb < mask.grid.q_blocks(); ++qb)
        for (int kb = middle[qb].begin; kb < middle[qb].end; ++kb)
          if (tile_score(scan, reduced, row_lse, p.scale, qb, kb) >= log_threshold(p.shape, head))
            mask.keep(head, qb, kb);
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
    const std::vector<float> lse = reference(original, means, mask);
    for (int head = 0; head < mask.heads; ++head) {
      if (dense_head(head)) {
        keep_causal(mask, head);
        continue;
      }
      const Scan& scan = scan_of(head);
      const sale::Reduction reduction = reduction_of(scan, p.shape);
      const sale::ReducedHead reduced = sale::reduce(p, head, reduction);
      std::vector<float> row_lse;
      for (int i = 0; i < reduced.rows; ++i)
        row_lse.push_back(
            lse[std::size_t(head) * p.shape.q_len + std::size_t(sale::last_token(i, reduction, p.shape.q_len))]);
      const std::vector<float> score = cpu::reduced_tile_scores(
          {reduced.dim, reduced.rows, rows_per_block(scan), reduced.keys, tile_keys(scan), reduced.q, reduced.k,
           row_lse, p.scale},
          scan.score == Score::max ? cpu::TileScore::max : cpu::TileScore::mass, mask.grid, middle);
      const double least = log_threshold(p.shape, head) - log_keys_of_key(scan);
      for (int qb = 0; qb < mask.grid.q_blocks(); ++qb)
        for (int kb = middle[qb].begin; kb < middle[qb].end; ++kb)
          if (score[std::size_t(qb) * mask.grid.k_blocks() + kb] >= least) mask.keep(head, qb, kb);
    }
  }

 private:
  struct SmoothedKeys {
    std::vector<float> values;  ///< kept from call to call
  };

  /// [q_heads, q_len]: L of each pooled row, at its last token, over what the mask keeps. Other tokens hold anything.
  std::vector<float> reference(const HostProblem& original, const std::vector<float>& means, ConstMaskView mask) const {
    const Shape& s = original.shape;
    std::vector<float> pooled(original.q.begin(), original.q.end()), lse(std::size_t(s.q_heads) * s.q_len);
    for (int head = 0; head < s.q_heads; ++head) {
      const sale::Reduction reduction = reduction_of(scan_of(head), s);
      const std::vector<float> rows = sale::pooled_rows(original, head, reduction);
      for (int i = 0; i < int(rows.size()) / s.head_dim; ++i)
        std::copy_n(
            &rows[std::size_t(i) * s.head_dim], s.head_dim,
            &pooled[head * original.q_head_size() + std::size_t(sale::last_token(i, reduction, s.q_len)) * s.head_dim]);
    }
    HostProblem p = original;  // with its own K, whose values are often of 16 bits: the kernel needs fewer products
    p.q = pooled;
    cpu::block_sparse_attention(p, mask, {{}, lse});
    cpu::shift_lse(p, means, -1, lse);
    return lse;
  }

  /// ln of a tile's relative score.
  double tile_score(const Scan& scan, const sale::ReducedHead& x, const std::vector<float>& row_lse, float scale,
                    int qb, int kb) const {
    double largest = -std::numeric_limits<double>::infinity(), sum = 0;
    const int begin = qb * rows_per_block(scan), end = std::min(x.rows, begin + rows_per_block(scan));
    for (int i = begin; i < end; ++i)
      for (int j = kb * tile_keys(scan); j < (kb + 1) * tile_keys(scan); ++j) {
        const double product = dot(&x.q[std::size_t(i) * x.dim], &x.k[std::size_t(j) * x.dim], x.dim);
        const double relative = scale * product - row_lse[i];
        largest = std::max(largest, relative);
        sum += std::exp(relative);
      }
    return scan.score == Score::max ? largest : std::log(sum / (end - begin)) + log_keys_of_key(scan);
  }

  const Scan& scan_of(int head) const { return scan_of_head_.empty() ? scan_ : scan_of_head_[std::size_t(head)]; }

  /// What a pooled key counts for in the mass: as many keys as it stands for.
  static double log_keys_of_key(const Scan& scan) {
    return scan.score == Score::mass ? std::log(double(scan.key_pool)) : 0.0;
  }
  static sale::Reduction reduction_of(const Scan& scan, const Shape& shape) {
    return {scan.row_pool, scan.row_stride, scan.key_pool, std::max(1, shape.head_dim / scan.channel_parts),
            scan.format};
  }
  int rows_per_block(const Scan& scan) const { return block().q / scan.row_pool / scan.row_stride; }
  int tile_keys(const Scan& scan) const { return block().k / scan.key_pool; }

  double log_threshold(const Shape& shape, int head) const {
    return sale::log_threshold(threshold_[head], threshold_scaling_ == Scaling::inverse_length, shape.kv_len);
  }
  bool dense_head(int head) const { return threshold_[head] <= 0; }
};

SALEBENCH_METHOD(SalePooled, "sale_pooled", 2, "SALE's score from pooled queries and keys: a scan of an eighth");

}  // namespace salebench
