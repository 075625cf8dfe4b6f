// BLASST (arXiv 2512.12087), "skip softmax" in TensorRT-LLM and FlashInfer: attention that leaves out a tile once its
// scores are known. With running row maxima m, the tile of rows I and keys J is skipped iff for all rows i in I
//   exp(max over J of s_ij - m_i) < lambda,   lambda = scale / kv_len.
// QK of every tile is computed; what is saved is exp, the load of V and PV. There is no selection before attention:
// `select` says which tiles the kernel keeps, and attend() finds them anew, whatever the mask it is given.
// Defaults: tiles of 128 x 128, as the paper and the authors' calibration; scale 1000, the example of TensorRT-LLM's
// documentation (theirs is calibrated by model: 105 for 30 %, 3293 for 70 % skipped of Qwen3-30B); tiles visited from
// the first key on, as their kernels do. Then the first tile is never skipped, as no row has a maximum yet, but the
// diagonal may be. `order: descending`, FlashAttention's own order, starts at the diagonal, which is then always kept.
#include <cmath>
#include <limits>
#include <numbers>

#include "core/registry.h"
#include "kernels/cpu/skip_attention.h"
#include "methods/shared/budget.h"
#include "methods/shared/logits.h"

namespace salebench {

class Blasst : public Method {
  Knob scale_{.value = 1000, .typical = {5000, 1000, 100}, .larger = Knob::Trend::keeps_less};
  BlockSize block_{128, 128};
  enum class Order { ascending, descending } order_ = Order::ascending;

 public:
  Params params() override {
    return {{"scale", "threshold times kv_len: lambda = scale / kv_len, at most 1", 0.0, 1e5, &scale_},
            calibration_file("scales", &scale_),
            {"block", "tile: query rows that decide together x keys", block_choices(), &block_},
            {"order",
             "tiles visited from the first key on, or from the diagonal back",
             {{"ascending", Order::ascending}, {"descending", Order::descending}},
             &order_}};
  }
  BlockSize block() const override { return block_; }
  bool honours_sliding_window() const override { return true; }
  bool keeps_diagonal() const override { return order_ == Order::descending; }
  bool has_selection() const override { return false; }
  bool chooses_arithmetic() const override { return false; }
  bool shared_attend() const override { return false; }  // its tiles are found on the way
  About about() const override {
    return {
        "BLASST (arXiv 2512.12087), skip softmax of TensorRT-LLM and FlashInfer",
        "every exact logit: QK of all tiles is computed",
        "tiles with a logit within ln(kv_len / scale) of its row's running maximum; decided inside attention, "
        "before exp, V and PV",
        "float32; lambda capped at 1, where theirs skips everything or runs dense; one vote a tile, where the authors' "
        "Hopper kernel has one for 64 rows, so that block: 64x64 is nearer to it"};
  }
  std::string remark(const Shape& shape) const override {
    return scale_.of_head.empty() && scale_.value > shape.kv_len
               ? "lambda capped at 1; skipped inside attention: no selection to time"
               : "skipped inside attention: no selection to time, and QK of every tile is computed";
  }

  void select(const HostProblem& p, MaskView mask) const override {
#pragma omp parallel for collapse(2) schedule(dynamic)
    for (int qb = mask.grid.q_blocks() - 1; qb >= 0; --qb)
      for (int head = 0; head < mask.heads; ++head) select_row(p, head, qb, mask);
  }

  void select_fast(const HostProblem& p, MaskView mask) const override {
    skip(p, mask.grid, {}, &mask);
  }

  void attend(const HostProblem& p, ConstMaskView mask, AttentionView out) const override {
    skip(p, mask.grid, out, nullptr);
  }

 private:
  double log_lambda(int head, const Shape& shape) const {
    return std::min(0.0, std::log(scale_[head] / shape.kv_len));  // -inf for scale 0: nothing is skipped
  }

  void select_row(const HostProblem& p, int head, int qb, MaskView mask) const {
    const BlockGrid& grid = mask.grid;
    const double reach = log_lambda(head, p.shape);
    std::vector<double> running(grid.block.q, -std::numeric_limits<double>::infinity());
    const int begin = grid.visible_begin(qb), end = grid.causal_end(qb);
    for (int i = begin; i < end; ++i) {
      const int kb = order_ == Order::ascending ? i : begin + end - 1 - i;
      bool any = false;
      for (int row = grid.q_begin(qb); row < grid.q_end(qb); ++row) {
        double& m = running[row - grid.q_begin(qb)];
        double tile_max = -std::numeric_limits<double>::infinity();
        for (int key = std::max(grid.k_begin(kb), p.key_begin(row)); key < std::min(grid.k_end(kb), p.key_end(row));
             ++key)
          tile_max = std::max(tile_max, logit(p, head, row, key));
        if (std::isinf(tile_max)) continue;  // the row sees no key of the tile
        any |= std::isinf(m) || tile_max - m >= reach;
        m = std::max(m, tile_max);  // a skipped tile never raises a maximum, as lambda <= 1
      }
      if (any) mask.keep(head, qb, kb);
    }
  }

  void skip(const HostProblem& p, const BlockGrid& grid, AttentionView out, MaskView* kept) const {
    BlockMask all(grid, p.shape.q_heads);
    keep_causal(all.view());
    std::vector<float> reach;
    for (int head = 0; head < p.shape.q_heads; ++head)
      reach.push_back(float(log_lambda(head, p.shape) * std::numbers::log2e));
    cpu::skip_attention(p, all.view(),
                        {.reach = reach, .group_rows = grid.block.q, .descending = order_ == Order::descending}, out,
                        kept);
  }
};

SALEBENCH_METHOD(Blasst, "blasst", 1, "BLASST / skip softmax: tiles skipped inside attention by their largest logit");

}  // namespace salebench
