// A mask from a file, made by any program in any language: scored and timed like a method, but for its selection.
// Key blocks of width 1 and query blocks of one row make it exact to the token.
#include <fmt/format.h>

#include "core/registry.h"
#include "datasets/mask_file.h"

namespace salebench {

class External : public Method {
  std::string masks_;
  std::string mask_;
  int block_q_ = 64, block_k_ = 64;
  StoredMask stored_;

 public:
  Params params() override {
    return {{"masks", "masks of `save: [masks]` or datasets/masks.py (.h5), or boolean arrays (.npz)", FreeText::path,
             &masks_},
            {"mask", "name of the mask in the file, for every problem (default: each problem's id)", FreeText::name,
             &mask_},
            {"block_q", "query rows of a tile in a .npz; an .h5 says it itself", 1, 1 << 20, &block_q_},
            {"block_k", "keys of a tile in a .npz; an .h5 says it itself", 1, 1 << 20, &block_k_}};
  }
  About about() const override { return {"a file", "none", "the tiles that the file keeps", ""}; }
  BlockSize block() const override { return stored_.block; }
  bool honours_sliding_window() const override { return true; }
  std::optional<Window> window() const override { return stored_.window; }
  bool keeps_diagonal() const override { return false; }
  bool has_selection() const override { return false; }
  bool treats_heads_alike() const override { return false; }

  void check_shape(const Shape&) const override {
    if (masks_.empty()) throw Unsupported("no mask file is named: external: {masks: FILE}");
  }
  std::string remark(const Shape&) const override { return "mask from a file: no selection to time"; }

  void prepare(const HostProblem& p, const std::string& id) override {
    stored_ = read_mask(masks_, mask_.empty() ? id : mask_, {block_q_, block_k_});
    const BlockGrid grid = grid_of(*this, p);
    if (stored_.heads != p.shape.q_heads || stored_.q_blocks != grid.q_blocks() || stored_.k_blocks != grid.k_blocks())
      throw Unsupported(
          fmt::format("the mask is [{}, {}, {}], but this problem in tiles of {} x {} is [{}, {}, {}] (heads, query "
                      "blocks, key blocks)",
                      stored_.heads, stored_.q_blocks, stored_.k_blocks, grid.block.q, grid.block.k, p.shape.q_heads,
                      grid.q_blocks(), grid.k_blocks()));
  }

  /// Copies the stored tiles; those that no row may see are left out.
  void select(const HostProblem&, MaskView mask) const override {
    ConstMaskView stored{mask.grid, mask.heads, stored_.bits.data()};
    for (int head = 0; head < mask.heads; ++head)
      for (int qb = 0; qb < mask.grid.q_blocks(); ++qb)
        for (int kb = mask.grid.visible_begin(qb); kb < mask.grid.causal_end(qb); ++kb)
          if (stored.kept(head, qb, kb)) mask.keep(head, qb, kb);
  }
};

SALEBENCH_METHOD(External, "external", 2, "a mask from a file, scored and timed without a selection");

}  // namespace salebench
