// SALE (arXiv 2505.24179): estimates the whole QK map at low bit width and keeps a 64 x 32 tile iff some entry's
// relative attention score, its weight against the row's sink and local keys, reaches a threshold.
//   RAS_ij = exp(scale * (S~_ij - m_i)) / l_i >= threshold,  m_i and l_i: maximum and sum over sink and local keys.
// Deviations from the authors' code: scales, bias and thresholds are float32 where it rounds them to 16 bits; rows past
// the end take no part in votes; any head_dim, and chunked prefill (q_len < kv_len).
#include <cmath>
#include <limits>

#include "core/registry.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/sale_scan.h"
#include "methods/budget.h"

namespace salebench {
namespace {

constexpr int kDenseLength = 1024;        // inputs up to this length run dense
constexpr double kDenseThreshold = 1e-5;  // lower thresholds mean a dense head
constexpr int kSegment = 4;               // the middle is scanned in groups of 4 key blocks

/// Codes of one head as the paper writes them, one scale a row.
struct PlainCodes {
  std::vector<int> code;     // [rows, dim]
  std::vector<float> scale;  // [rows]
};

/// x [rows, dim] minus mean, rounded to [-levels, levels] in units of the largest value of each group of rows.
template <class GroupOf>
PlainCodes quantize_plain(const float* x, const std::vector<float>& mean, int rows, int levels, float scale_floor,
                          const GroupOf& group_of) {
  const int dim = int(mean.size());
  PlainCodes codes{std::vector<int>(std::size_t(rows) * dim), std::vector<float>(rows)};
  std::vector<float> most(rows);  // of each group; a group's number is at most that of its first row
  for (int i = 0; i < rows; ++i)
    for (int d = 0; d < dim; ++d)
      most[group_of(i)] = std::max(most[group_of(i)], std::fabs(x[std::size_t(i) * dim + d] - mean[d]));
  for (int i = 0; i < rows; ++i) {
    codes.scale[i] = std::max(most[group_of(i)] / float(levels), scale_floor);
    for (int d = 0; d < dim && codes.scale[i] > 0; ++d)
      codes.code[std::size_t(i) * dim + d] =
          int(std::nearbyint((x[std::size_t(i) * dim + d] - mean[d]) * (1 / codes.scale[i])));
  }
  return codes;
}

}  // namespace

class Sale : public Method {
  Knob threshold_{.value = 0.004, .larger = Knob::Trend::keeps_less};
  std::string bits_ = "4";
  int local_blocks_ = 4;
  std::string smooth_ = "qk";

 public:
  Params params() override {
    return {{"threshold", "relative attention score that keeps a tile; below 1e-5 the head is dense", 0.0, 1.0,
             &threshold_},
            calibration_file("thresholds", &threshold_),
            {"bits", "width of the estimate's codes; 16 uses exact logits", {"4", "8", "16"}, &bits_},
            {"local_blocks", "least number of latest 32-key blocks always kept", 3, 4096, &local_blocks_},
            {"smooth", "subtract the mean of Q and K, of K, or none before quantising", {"qk", "k", "none"}, &smooth_}};
  }
  BlockSize block() const override { return {64, 32}; }
  About about() const override {
    return {"SALE (arXiv 2505.24179), authors' code at 39d380c",
            "every 4-bit logit against its row's sink and local keys",
            "tiles in which any relative attention score reaches the threshold, sink and local blocks",
            "float32 scales, bias and thresholds instead of 16 bits; rows past the end take no part in votes; any "
            "head_dim and chunked prefill"};
  }

  void check(const Shape&, bool causal) const override {
    if (!causal) throw Unsupported("sale is defined for causal attention only");
  }
  std::string remark(const Shape& shape) const override {
    return short_input(shape)                                                 ? "dense: at most 1024 tokens"
           : threshold_.of_head.empty() && threshold_.value < kDenseThreshold ? "dense: threshold below 1e-5"
                                                                              : "";
  }

  void select(const HostProblem& original, MaskView mask) const override {
    if (short_input(original.shape)) return keep_causal(mask);
    std::vector<float> keys;
    const HostProblem p = smoothed(original, keys);
    for (int head = 0; head < mask.heads; ++head) {
      if (dense_head(head)) {
        keep_causal(mask, head);
        continue;
      }
      const Estimate estimate(p, head, levels(), smooth_ == "qk");
      for (int qb = 0; qb < mask.grid.q_blocks(); ++qb) {
        const cpu::ScanRange middle = keep_sink_and_local(mask, head, qb);
        std::vector<double> limit;  // T_i of each row, in unscaled logit units
        for (int i = mask.grid.q_begin(qb); i < mask.grid.q_end(qb); ++i)
          limit.push_back(row_threshold(p, mask, head, i, middle));
        for (int kb = middle.begin; kb < middle.end; ++kb)
          if (any_reaches(estimate, mask.grid, qb, kb, limit)) mask.keep(head, qb, kb);
      }
    }
  }

  void select_fast(const HostProblem& original, MaskView mask) const override {
    if (short_input(original.shape)) return keep_causal(mask);
    std::vector<float> keys;
    const HostProblem p = smoothed(original, keys);
    std::vector<cpu::ScanRange> middle(mask.grid.q_blocks());
    for (int head = 0; head < mask.heads; ++head)
      for (int qb = 0; qb < mask.grid.q_blocks(); ++qb) middle[qb] = keep_sink_and_local(mask, head, qb);
    // T_i = m_i + ln(threshold l_i) / scale = (log-sum-exp over sink and local + ln threshold) / scale
    std::vector<float> limit(std::size_t(p.shape.q_heads) * p.shape.q_len);
    cpu::block_sparse_attention(p, mask, {{}, limit});
    for (int head = 0; head < mask.heads; ++head) {
      const auto of_head = std::span(limit).subspan(std::size_t(head) * p.shape.q_len, p.shape.q_len);
      const auto log_threshold = float(std::log(threshold_[head]));
      for (float& t : of_head) t = (t + log_threshold) / p.scale;
      if (!dense_head(head)) continue;
      keep_causal(mask, head);
      std::ranges::fill(of_head, std::numeric_limits<float>::infinity());  // nothing left to find
    }
    if (bits_ == "16")
      cpu::scan_exact(p, middle, limit, mask);
    else
      cpu::scan_codes(p.shape, cpu::quantize(p, levels(), smooth_ == "qk"), middle, limit, mask);
  }

 private:
  /// Estimated logits S~ of one head, without the softmax scale: section 3.2, one scale per thread's share of an MMA
  /// tile.
  class Estimate {
   public:
    Estimate(const HostProblem& p, int head, int levels, bool smooth_q)
        : q_(p.q_head(head)), k_(p.k_of(head)), dim_(p.shape.head_dim), exact_(levels == 0), bias_(p.shape.kv_len) {
      if (exact_) return;
      const std::vector<float> q_mean =
          smooth_q ? cpu::channel_means(q_, p.shape.q_len, dim_) : std::vector<float>(dim_);
      float floor = 0;  // of the scale of rows that all equal the mean
      for (const float m : q_mean) floor = std::max(floor, 1e-4f * std::fabs(m));
      q_codes_ = quantize_plain(q_, q_mean, p.shape.q_len, levels, floor, [](int i) { return i / 16 * 8 + i % 8; });
      k_codes_ = quantize_plain(k_, std::vector<float>(dim_), p.shape.kv_len, levels, 0.0f,
                                [](int j) { return j / 32 * 4 + j % 8 / 2; });
      for (int j = 0; j < p.shape.kv_len; ++j) {  // (mean of q) . k_j, exact, in units of the key's scale
        float dot = 0;
        for (int d = 0; d < dim_; ++d) dot += q_mean[d] * k_[std::size_t(j) * dim_ + d];
        bias_[j] = k_codes_.scale[j] > 0 ? dot / k_codes_.scale[j] : 0.0f;
      }
    }

    double operator()(int i, int j) const {
      const std::size_t q_row = std::size_t(i) * dim_, k_row = std::size_t(j) * dim_;
      if (exact_) {
        double dot = 0;
        for (int d = 0; d < dim_; ++d) dot += double(q_[q_row + d]) * k_[k_row + d];
        return dot;
      }
      if (q_codes_.scale[i] == 0) return 0;
      int sum = int(std::nearbyint(bias_[j] * (1 / q_codes_.scale[i])));
      for (int d = 0; d < dim_; ++d) sum += q_codes_.code[q_row + d] * k_codes_.code[k_row + d];
      return double(q_codes_.scale[i]) * k_codes_.scale[j] * sum;
    }

   private:
    const float *q_, *k_;
    int dim_;
    bool exact_;
    std::vector<float> bias_;
    PlainCodes q_codes_, k_codes_;
  };

  /// Keeps key block 0 and the local blocks; returns the middle, whose length is a multiple of the segment.
  cpu::ScanRange keep_sink_and_local(MaskView mask, int head, int qb) const {
    const int end = mask.grid.causal_end(qb);
    const int segments = std::max(0, (end - 1 - local_blocks_) / kSegment);
    const cpu::ScanRange middle = {1, 1 + kSegment * segments};
    mask.keep(head, qb, 0);
    mask.keep_range(head, qb, middle.end, end);
    return middle;
  }

  /// T_i = m_i + ln(threshold * l_i) / scale over the row's sink and local keys.
  double row_threshold(const HostProblem& p, MaskView mask, int head, int i, cpu::ScanRange middle) const {
    std::vector<double> logits;
    for (int j = 0; j < p.key_end(i); ++j) {
      const int kb = j / mask.grid.block.k;
      if (kb >= middle.begin && kb < middle.end) continue;
      double dot = 0;
      for (int d = 0; d < p.shape.head_dim; ++d)
        dot += double(p.q_head(head)[std::size_t(i) * p.shape.head_dim + d]) *
               p.k_of(head)[std::size_t(j) * p.shape.head_dim + d];
      logits.push_back(dot);
    }
    const double m = *std::max_element(logits.begin(), logits.end());
    double l = 0;
    for (const double x : logits) l += std::exp(p.scale * (x - m));
    return m + std::log(threshold_[head] * l) / p.scale;
  }

  static bool any_reaches(const Estimate& estimate, const BlockGrid& grid, int qb, int kb,
                          const std::vector<double>& limit) {
    for (int i = grid.q_begin(qb); i < grid.q_end(qb); ++i)
      for (int j = grid.k_begin(kb); j < grid.k_end(kb); ++j)
        if (estimate(i, j) >= limit[std::size_t(i - grid.q_begin(qb))]) return true;
    return false;
  }

  /// The problem with K minus its mean, which `keys` holds.
  HostProblem smoothed(HostProblem p, std::vector<float>& keys) const {
    if (smooth_ == "none") return p;
    keys = cpu::smooth_keys(p);
    p.k = keys;
    return p;
  }

  static bool short_input(const Shape& shape) { return shape.kv_len <= kDenseLength; }
  bool dense_head(int head) const { return threshold_[head] < kDenseThreshold; }
  int levels() const { return bits_ == "4" ? 7 : bits_ == "8" ? 127 : 0; }
};

SALEBENCH_METHOD(Sale, "sale", 1, "SALE: low-bit QK estimate, relative attention score, 64 x 32 tiles");

}  // namespace salebench
