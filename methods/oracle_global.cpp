// Oracle over a whole head: the tiles with the most true attention mass, wherever they are, up to a share of the head's
// causal tiles. At a given mean recall no mask of this tile size that leaves no row empty keeps fewer tiles, so the
// rules that go query block by query block are bounded by it too; its time means nothing. Mass is not what the output
// error is made of: by value, a tile's mass counts times the norm of its mean value vector. Each query block first gets
// the heaviest tile that all its rows see, inside the budget: this is what leaves no row empty.
#include <cmath>
#include <functional>
#include <tuple>

#include "core/registry.h"
#include "kernels/cpu/pooling.h"
#include "methods/shared/true_attention.h"

namespace salebench {

class OracleGlobal : public Method {
  Knob budget_{.value = 0.1, .typical = {0.05, 0.1, 0.2, 0.4}};
  enum class By { mass, value } by_ = By::mass;
  BlockSize block_{64, 32};

 public:
  Params params() override {
    return {{"budget", "share of the head's causal tiles that is kept", 0.0, 1.0, &budget_},
            calibration_file("budgets", &budget_),
            {"by",
             "mass: true mass; value: mass times the norm of the tile's mean value",
             {{"mass", By::mass}, {"value", By::value}},
             &by_},
            {"block", "tile: query rows x keys", block_choices(), &block_}};
  }
  BlockSize block() const override { return block_; }
  bool honours_sliding_window() const override { return true; }
  Role role() const override { return Role::oracle; }
  bool keeps_diagonal() const override { return false; }
  About about() const override {
    return {"the bound of all tile methods at a given mean recall", "true attention mass of a tile, sum over its rows",
            "the heaviest tiles of the whole head, up to a share of its causal tiles",
            "the heaviest tile of each query block is kept first, inside the budget"};
  }

  void select(const HostProblem& p, MaskView mask) const override { keep_heaviest(p, true_mass(p, mask.grid), mask); }
  void select_fast(const HostProblem& p, MaskView mask) const override {
    keep_heaviest(p, cpu::block_mass(p, fast_lse(p), mask.grid), mask);
  }

 private:
  struct Tile {
    float weight;
    int q_block, k_block;
    bool operator<(const Tile& other) const {  // the first to keep is the least
      return std::tuple(-weight, q_block, k_block) < std::tuple(-other.weight, other.q_block, other.k_block);
    }
  };

  /// mass [heads, q_blocks, k_blocks] is a mean over the rows of a tile.
  void keep_heaviest(const HostProblem& p, const std::vector<float>& mass, MaskView mask) const {
    const BlockGrid& grid = mask.grid;
#pragma omp parallel for
    for (int head = 0; head < mask.heads; ++head) {
      const std::vector<float> value = tile_values(p, grid, head);
      std::vector<Tile> rest;
      int forced = 0;
      for (int qb = 0; qb < grid.q_blocks(); ++qb) {
        const std::span<const float> row = causal_tiles(mass, grid, head, qb);
        keep_no_row_empty(row, head, qb, mask);
        const auto rows = float(grid.q_end(qb) - grid.q_begin(qb));
        for (int kb = grid.visible_begin(qb); kb < int(row.size()); ++kb)
          if (mask.kept(head, qb, kb))
            ++forced;
          else
            rest.push_back({row[kb] * rows * value[kb], qb, kb});
      }
      const double wanted = std::ceil(budget_[head] * double(forced + int(rest.size())) - 1e-9);
      const int more = std::clamp(int(wanted) - forced, 0, int(rest.size()));
      std::ranges::nth_element(rest, rest.begin() + more, std::less());
      for (int i = 0; i < more; ++i) mask.keep(head, rest[i].q_block, rest[i].k_block);
    }
  }

  /// What a unit of mass on each key block counts: [k_blocks].
  std::vector<float> tile_values(const HostProblem& p, const BlockGrid& grid, int head) const {
    std::vector<float> norms(grid.k_blocks(), 1.0f);
    if (by_ == By::mass) return norms;
    const int dim = p.shape.head_dim;
    const std::vector<float> means = cpu::mean_pool(p.v_of(head), p.shape.kv_len, dim, grid.block.k);
    for (std::size_t kb = 0; kb < norms.size(); ++kb) {
      double sum = 0;
      for (int d = 0; d < dim; ++d) sum += double(means[kb * dim + d]) * means[kb * dim + d];
      norms[kb] = float(std::sqrt(sum));
    }
    return norms;
  }
};

SALEBENCH_METHOD(OracleGlobal, "oracle_global", 1, "oracle: heaviest tiles of a whole head, up to a budget");

}  // namespace salebench
