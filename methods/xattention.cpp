// XAttention (arXiv 2503.16428): the score of S x S tokens is the sum along their antidiagonal; each 128-row block
// keeps the heaviest key blocks of the softmax of those scores until they hold a share tau of it.
//
//   A_ij = sum over t < S of q_{S i + S - 1 - t} . k_{S j + t}, softmax(scale / S * A) over j <= i, summed by block.
//
// Key block 0 and the diagonal are kept first and count; the block that crosses tau is kept. Defaults: S 8, tau 0.9.
//
// rule: shipped is what the authors' code does, and so what published runs of it measured. There the assignment that
// forces the diagonal of a chunk overwrites that of column 0, so in the rows of the first chunk (all of them up to
// 16,384 keys) only the diagonal is forced. The sums still leave room for two: each lags a block behind, so a block
// more than tau asks for is kept, and key block 0 comes on top, uncounted.
#include <bit>

#include "core/registry.h"
#include "kernels/cpu/antidiagonal.h"
#include "methods/shared/logits.h"

namespace salebench {
namespace {

constexpr int kBlock = 128;

/// Tokens of a chunk of the authors' Xattention_prefill: those that fit one map, at least 2048.
std::int64_t chunk_tokens(int kv_len) {
  const auto padded = std::int64_t(std::bit_ceil(unsigned(kv_len)));
  return std::max<std::int64_t>(2048, std::min(padded, (std::int64_t(1) << 28) / padded));
}

}  // namespace

class Xattention : public Method {
  Knob tau_{.value = 0.9, .typical = {0.8, 0.9}};
  int stride_ = 8;
  enum class Rule { intended, shipped } rule_ = Rule::intended;

 public:
  Params params() override {
    return {{"tau", "share of a query block's estimated attention that is kept", 0.0, 1.0, &tau_},
            calibration_file("taus", &tau_),
            {"stride",
             "tokens whose products are summed along an antidiagonal",
             {{"4", 4}, {"8", 8}, {"16", 16}, {"32", 32}, {"64", 64}},
             &stride_},
            {"rule",
             "intended, or shipped: as the authors' code sums, which forgets key block 0 and keeps a block more",
             {{"intended", Rule::intended}, {"shipped", Rule::shipped}},
             &rule_}};
  }
  BlockSize block() const override { return {kBlock, kBlock}; }
  About about() const override {
    return {
        "XAttention (arXiv 2503.16428), authors' code at e379887",
        "softmax of the sums of q . k along antidiagonals of S x S tokens, over the whole map",
        "the heaviest tiles of each query block up to a share tau, key block 0 and the diagonal first",
        "float32 map instead of 16 bits; key block 0 counts in every row, which their first chunk (all rows up to "
        "16,384 keys) forgets: `rule: shipped` does as they do; their PyTorch path loses earlier keys where no padding "
        "is needed, which is left out; in chunked prefill groups of S queries start at the chunk and see the group of "
        "keys that their last token is in"};
  }
  bool causal_only() const override { return true; }

  void select(const HostProblem& p, MaskView mask) const override {
    std::vector<float> mass;  // estimated attention of tiles, [q_heads, q_blocks, k_blocks]
    for (int head = 0; head < mask.heads; ++head) add_plain_mass(p, head, mask.grid, mass);
    keep_heaviest(mass, mask);
  }

  void select_fast(const HostProblem& p, MaskView mask) const override {
    keep_heaviest(cpu::antidiagonal_mass(p, stride(), mask.grid), mask);
  }

 private:
  int stride() const { return stride_; }

  /// Appends the tiles of one head, [q_blocks, k_blocks].
  void add_plain_mass(const HostProblem& p, int head, const BlockGrid& grid, std::vector<float>& mass) const {
    const int s = stride();
    const int rows = (p.shape.q_len + s - 1) / s, columns = (p.shape.kv_len + s - 1) / s;
    const int first = (p.shape.offset() + s - 1) / s;  // the strided key that strided row 0 sees last
    const std::size_t head_begin = mass.size();
    mass.resize(head_begin + std::size_t(grid.q_blocks()) * grid.k_blocks());
    for (int i = 0; i < rows; ++i) {
      std::vector<double> weight(std::min(columns, first + i + 1));
      for (int j = 0; j < int(weight.size()); ++j) weight[j] = p.scale / s * antidiagonal(p, head, s, i, j);
      softmax(std::span(weight));
      for (int j = 0; j < int(weight.size()); ++j)
        mass[head_begin + std::size_t(i * s / kBlock) * grid.k_blocks() + j * s / kBlock] += float(weight[j]);
    }
  }

  /// Sum over the antidiagonal of strided row i and strided key j; tokens past the end count as zero.
  static double antidiagonal(const HostProblem& p, int head, int s, int i, int j) {
    double sum = 0;
    for (int t = 0; t < s; ++t) {
      const int row = s * i + s - 1 - t, key = s * j + t;
      if (row < p.shape.q_len && key < p.shape.kv_len) sum += product(p, head, row, key);
    }
    return sum;
  }

  /// mass is [q_heads, q_blocks, k_blocks].
  void keep_heaviest(const std::vector<float>& mass, MaskView mask) const {
    const BlockGrid& grid = mask.grid;
#pragma omp parallel for collapse(2) schedule(dynamic)
    for (int head = 0; head < mask.heads; ++head)
      for (int qb = 0; qb < grid.q_blocks(); ++qb)
        keep_row(&mass[(std::size_t(head) * grid.q_blocks() + qb) * grid.k_blocks()], head, qb, mask);
  }

  /// Keeps key block 0 and the diagonal, then the heaviest others while the sum of those before is below tau x the
  /// row's total.
  void keep_row(const float* mass, int head, int qb, MaskView mask) const {
    const BlockGrid& grid = mask.grid;
    const bool lags = rule_ == Rule::shipped && grid.position(grid.q_begin(qb)) < chunk_tokens(grid.kv_len);
    if (!lags) mask.keep(head, qb, 0);
    mask.keep_range(head, qb, grid.diagonal_begin(qb), grid.diagonal_end(qb));
    std::vector<int> rest;
    double total = 0, forced = 0;
    for (int kb = 0; kb < grid.causal_end(qb); ++kb) {
      total += mass[kb];
      if (mask.kept(head, qb, kb))
        forced += mass[kb];
      else
        rest.push_back(kb);
    }
    const double share = tau_[head] * total;
    int count = count_to_share(heaviest_first(rest, mass), share, Crossing::kept, forced);
    if (lags && share > 0) count = std::min(count + 1, int(rest.size()));  // a sum without the block before
    for (int i = 0; i < count; ++i) mask.keep(head, qb, rest[i]);
    mask.keep(head, qb, 0);
  }
};

SALEBENCH_METHOD(Xattention, "xattention", 1, "XAttention: antidiagonal scores, tiles up to a share of attention");

}  // namespace salebench
