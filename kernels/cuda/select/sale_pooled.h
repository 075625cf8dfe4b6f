// The selection of pooled SALE on Hopper (methods/sale/sale_pooled.cpp is its definition): statistics of K, then for
// each kind of scan among the heads pooled keys, pooled queries with their reference pass over sink and local keys, and
// the scan of the middle on 8-bit or 16-bit tensor cores, whose vote sets the mask's bits.
#pragma once

#include <compare>
#include <memory>
#include <vector>

#include "core/block_mask.h"
#include "kernels/cuda/device/device_problem.h"

namespace salebench::cuda {

/// How a head is scanned.
struct PooledScan {
  enum class Score { max, mass } score = Score::max;
  /// What is multiplied. fp16 stands for exact arithmetic: it holds bf16 values as they are, and means of them to
  /// 2^-11.
  enum class Operands { fp16, fp8 } operands = Operands::fp8;
  int row_pool = 1, row_stride = 1, key_pool = 1;

  auto operator<=>(const PooledScan&) const = default;
};

/// The device side of `sale_pooled`.
struct SalePooledSide {
  std::vector<PooledScan> scans;      ///< [q_heads]
  std::vector<float> log_thresholds;  ///< [q_heads], natural; -inf for a dense head
  int local_blocks = 4;               ///< as of SaleOptions
  bool all_dense = false;
};

/// Why the kernels do not take the scan for this tile; null if they do.
inline const char* why_unsupported(const PooledScan& scan, const BlockSize& block) {
  if (block.q / scan.row_pool / scan.row_stride < 16)
    return "fewer than 16 rows of a tile are scanned; take a smaller row_pool or row_stride";
  return scan.key_pool > 4 ? "pools of more than 4 keys" : nullptr;
}

/// A selection with all its memory, for one problem and mask grid. Throws std::invalid_argument where the kernels don't
/// run (kernels/cuda/hopper/hopper_here.h) or don't take the problem, the tile or a scan of the side.
class PooledSelection {
 public:
  PooledSelection(const SalePooledSide& side, const DeviceProblem& problem, const BlockGrid& grid);
  ~PooledSelection();
  /// Writes the whole mask, whose bits need no clearing.
  void run(MaskView mask, Stream stream) const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace salebench::cuda
