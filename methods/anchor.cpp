// AnchorAttention (arXiv 2505.23520): single key columns, shared by a super-block of 16 query blocks of 128 rows.
// Exact: key block 0, the 128 keys before the super-block, and the super-block itself. m_i is a row's largest logit
// there; the anchor of a query block is the mean of its m_i. Every key j between block 0 and the block before the
// super-block is a candidate, and is kept for the whole super-block iff for any of its query blocks
//   scale * mean q . k_j + theta >= anchor.
// The last q_len mod 2048 rows are dense. Default: theta 12 (natural-log units), 16 blocks.
// This is the partition of the authors' first kernel (anchor_attn.py). rule: shipped is that of the one their models
// call (anchor_attn_v4.py): exact over as many first keys as a super-block has rows, and over the super-block;
// candidates still end 128 keys before the super-block, so that no row of it sees those 128.
#include <limits>

#include "core/registry.h"
#include "kernels/cpu/pooling.h"
#include "kernels/cpu/row_scores.h"
#include "methods/shared/logits.h"

namespace salebench {
namespace {

constexpr int kBlock = 128;   // query rows with one anchor, and keys of the first and the previous block
constexpr int kChunk = 2048;  // candidates scored at a time

/// A super-block of query rows: the token position of its first one says which keys are exact, [0, first_end) and those
/// from local_begin on. Of the ones between, keys up to candidates_end may become columns.
struct SuperBlock {
  SuperBlock(int head, int row_begin, int rows, int position, bool shipped)
      : head(head),
        row_begin(row_begin),
        rows(rows),
        position(position),
        first_end(shipped ? rows : kBlock),
        local_begin(shipped ? position : std::max(0, position - kBlock)),
        candidates_end(position - kBlock) {}

  int head, row_begin, rows, position;
  int first_end, local_begin, candidates_end;
};

}  // namespace

class Anchor : public Method {
  Knob theta_{.value = 12, .typical = {8, 12}};
  int step_ = 16;
  enum class Rule { intended, shipped } rule_ = Rule::intended;

 public:
  Params params() override {
    return {{"theta", "how far below its anchor a pooled logit may lie, in nats", 0.0, 100.0, &theta_},
            calibration_file("thetas", &theta_),
            {"step", "query blocks of 128 rows that share their columns (authors: 16 or 32)", 1, 64, &step_},
            {"rule",
             "intended, or shipped: as the authors' models run it, exact over the first 128 x step keys",
             {{"intended", Rule::intended}, {"shipped", Rule::shipped}},
             &rule_}};
  }
  BlockSize block() const override { return {kBlock, 1}; }
  About about() const override {
    return {
        "AnchorAttention (arXiv 2505.23520), authors' code at fdc7420",
        "mean query of 128 rows . every key, against the rows' mean exact maximum near the sink and the diagonal",
        "key columns, shared by 2048 rows, within theta of an anchor; the first block, the block before and the "
        "super-block itself; the last q_len mod 2048 rows are dense",
        "the partition of the authors' first kernel; the one wired into their models keeps 1.5 to 2.1 times the pairs "
        "at theta 12 (bundled capture): `rule: shipped`, but for the candidates that it counts twice in the softmax; "
        "float32 scores and anchors, not 16 bits; in chunked prefill super-blocks count query rows, and their keys go "
        "by position"};
  }
  bool causal_only() const override { return true; }
  std::string remark(const Shape& shape) const override {
    return shape.q_len < super_rows() ? "dense: fewer query rows than a super-block" : "";
  }

  void select(const HostProblem& p, MaskView mask) const override {
    const int dim = p.shape.head_dim;
    const auto raise_max = [&](const SuperBlock& sb, int begin, int end, std::vector<float>& row_max) {
      for (int r = 0; r < sb.rows; ++r)
        for (int j = begin; j < std::min(end, p.key_end(sb.row_begin + r)); ++j)
          row_max[r] = std::max(row_max[r], float(logit(p, sb.head, sb.row_begin + r, j)));
    };
    const auto score = [&](const SuperBlock& sb, const std::vector<float>& queries, int begin, int end, int stride,
                           std::vector<float>& scores) {
      for (int b = 0; b < step_; ++b)
        for (int j = begin; j < end; ++j)
          scores[std::size_t(b) * stride + j - begin] =
              float(p.scale * dot(&queries[std::size_t(b) * dim], p.k_of(sb.head) + std::size_t(j) * dim, dim));
    };
    select_by(p, mask, raise_max, score);
  }

  void select_fast(const HostProblem& p, MaskView mask) const override {
    const std::vector<cpu::PackedHead> packed = cpu::pack_heads(p, false);
    const auto raise_max = [&](const SuperBlock& sb, int begin, int end, std::vector<float>& row_max) {
      std::vector<float> queries;
      for (int r = 0; r < sb.rows; r += cpu::kRowTile) {
        const int row = sb.row_begin + r, rows = std::min(cpu::kRowTile, sb.rows - r);
        cpu::pack_queries(p, sb.head, row, row + rows, p.scale, queries);
        cpu::ScoreTask task;
        task.q = queries.data();
        task.rows = rows;
        task.dim = p.shape.head_dim;
        task.kv = &packed[p.shape.kv_head_of(sb.head)];
        task.limits.first_position = sb.position + r;
        task.limits.kv_len = p.shape.kv_len;
        cpu::raise_row_max(task, begin, std::min(end, sb.position + r + rows), &row_max[r]);
      }
    };
    const auto score = [&](const SuperBlock& sb, const std::vector<float>& queries, int begin, int, int stride,
                           std::vector<float>& scores) {
      std::vector<float> scaled(std::size_t(cpu::round_up(step_, cpu::kRowStep)) * p.shape.head_dim);
      std::ranges::transform(queries, scaled.begin(), [&](float q) { return q * p.scale; });
      cpu::score_panels(scaled.data(), step_, p.shape.head_dim, packed[p.shape.kv_head_of(sb.head)],
                        begin / cpu::kPanelKeys, (begin + stride) / cpu::kPanelKeys, scores.data());
    };
    select_by(p, mask, raise_max, score);
  }

 private:
  int super_rows() const { return kBlock * step_; }

  /// raise_max(super-block, begin, end, row_max) takes the keys of [begin, end) that a row sees into its maximum;
  /// score(super-block, queries, begin, end, stride, scores) sets scores [step padded, stride] of keys [begin, end).
  template <class RaiseMax, class Score>
  void select_by(const HostProblem& p, MaskView mask, const RaiseMax& raise_max, const Score& score) const {
    const int supers = p.shape.q_len / super_rows();
#pragma omp parallel for collapse(2) schedule(dynamic)
    for (int s = supers - 1; s >= 0; --s) {
      for (int head = 0; head < mask.heads; ++head) {
        const int row = s * super_rows();
        const SuperBlock sb(head, row, super_rows(), mask.grid.position(row), rule_ == Rule::shipped);
        keep_exact(mask, sb);
        std::vector<float> row_max(sb.rows, -std::numeric_limits<float>::infinity());
        raise_max(sb, 0, sb.first_end, row_max);
        raise_max(sb, sb.local_begin, sb.position + sb.rows, row_max);
        keep_columns(p, mask, sb, cpu::mean_pool(row_max.data(), sb.rows, 1, kBlock), score);
      }
    }
    for (int head = 0; head < mask.heads; ++head)
      for (int qb = supers * step_; qb < mask.grid.q_blocks(); ++qb)
        mask.keep_range(head, qb, 0, mask.grid.causal_end(qb));
  }

  void keep_exact(MaskView mask, const SuperBlock& sb) const {
    for (int i = 0; i < step_; ++i) {
      const int qb = sb.row_begin / kBlock + i, end = mask.grid.causal_end(qb);
      mask.keep_range(sb.head, qb, 0, std::min(sb.first_end, end));
      mask.keep_range(sb.head, qb, sb.local_begin, end);
    }
  }

  template <class Score>
  void keep_columns(const HostProblem& p, MaskView mask, const SuperBlock& sb, const std::vector<float>& anchors,
                    const Score& score) const {
    const int dim = p.shape.head_dim;
    const std::vector<float> queries =
        cpu::mean_pool(p.q_head(sb.head) + std::size_t(sb.row_begin) * dim, sb.rows, dim, kBlock);
    std::vector<float> scores(std::size_t(cpu::round_up(step_, cpu::kRowStep)) * kChunk);
    for (int begin = sb.first_end; begin < sb.candidates_end; begin += kChunk) {
      const int end = std::min(sb.candidates_end, begin + kChunk);
      const int stride = cpu::round_up(end - begin, cpu::kPanelKeys);
      score(sb, queries, begin, end, stride, scores);
      for (int j = begin; j < end; ++j) {
        bool kept = false;
        for (int b = 0; b < step_; ++b)
          kept |= scores[std::size_t(b) * stride + j - begin] + float(theta_[sb.head]) >= anchors[b];
        for (int i = 0; kept && i < step_; ++i) mask.keep(sb.head, sb.row_begin / kBlock + i, j);
      }
    }
  }
};

SALEBENCH_METHOD(Anchor, "anchor", 1, "AnchorAttention: key columns near the exact maximum of sink and diagonal");

}  // namespace salebench
