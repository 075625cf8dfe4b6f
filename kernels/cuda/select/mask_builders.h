// Mask builders on the device: windows, pooled scores, attention mass, and choosing tiles under a budget. Each writes
// every word of the rows of the mask, whose bits need no clearing. methods/shared/window_tiles.h, block_topk.cpp,
// oracle_topk.cpp and budget.h are their definitions.
#pragma once

#include <vector>

#include "core/block_mask.h"
#include "kernels/cuda/device/device_problem.h"

namespace salebench::cuda {

/// The device side of methods that keep the tiles of their window and nothing else.
struct WindowSide {};

/// Every tile in which some row sees some key through the window of the mask's grid, which must have one.
void window_mask(MaskView mask, Stream stream);

/// Every tile that dense attention would visit.
void causal_mask(MaskView mask, Stream stream);

/// scores [q_heads, q_blocks, k_blocks] = mean query . mean key of each tile that dense attention would visit.
std::size_t pooled_scores_bytes(const Shape& shape, const BlockSize& block);
void pooled_scores(const DeviceProblem& problem, const BlockGrid& grid, void* workspace, float* scores, Stream stream);

/// mass [q_heads, q_blocks, k_blocks]: mean over the rows of a tile of the true probability on its keys, given the
/// exact lse [q_heads, q_len]. Only tiles that dense attention would visit are written.
void block_mass(const DeviceProblem& problem, const float* lse, const BlockGrid& grid, float* mass, Stream stream);

/// Blocks kept whatever their score, inside the budget: as Forced in methods/shared/budget.h.
struct ForcedBlocks {
  int sink = 0, local = 0;
};

/// Keeps the forced blocks of each query block, then the best-scored others until ceil(budget * causal blocks) are
/// kept; of equals the lower index goes first. scores as above, budgets [heads], both in device memory. At most
/// kMaxBudgetBlocks key blocks.
void keep_best(const float* scores, const double* budgets, ForcedBlocks forced, MaskView mask, Stream stream);
constexpr int kMaxBudgetBlocks = 24 * 1024;

/// The device side of methods that keep the best tiles of each query block up to a budget.
struct TopTilesSide {
  std::vector<double> budgets;  ///< [q_heads]
  ForcedBlocks forced;
  enum class Score { pooled, true_mass } score = Score::pooled;
};

}  // namespace salebench::cuda
