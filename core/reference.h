// Attention in double precision, straight from its formula: what every kernel and every metric is checked against.
#pragma once

#include <functional>
#include <span>
#include <stdexcept>
#include <vector>

#include "core/block_mask.h"
#include "core/problem.h"

namespace salebench {

/// Receives the share done, from one thread at a time; false stops the work, which then throws Stopped.
using ProgressCall = std::function<bool(double)>;

/// Long work was stopped by its progress call.
struct Stopped : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct ReferenceResult {
  std::vector<double> output;  ///< [q_heads, rows, head_dim]; zero for a row that keeps no key
  std::vector<double> lse;     ///< [q_heads, rows], natural log; -inf for a row that keeps no key
};

/// Softmax attention over the keys each row may see and, given a mask, whose tile is kept. Rows: the query rows wanted,
/// ascending; all of them if empty. Needs memory for one tile of scores a thread, never q_len x kv_len.
ReferenceResult reference_attention(const HostProblem& problem, const ConstMaskView* mask = nullptr,
                                    std::span<const int> rows = {}, const ProgressCall& progress = {});

/// Recall of rows: the sum of the true probabilities of the keys that a row keeps, [q_heads, rows]. lse is the exact
/// one of these rows, [q_heads, rows].
std::vector<double> reference_recall(const HostProblem& problem, ConstMaskView mask, std::span<const int> rows,
                                     std::span<const double> lse);

/// Attention mass of each tile: the mean over the rows of a query block of the true probability that falls on the key
/// block. Returns [q_heads, q_blocks, k_blocks]; the sum over key blocks is 1. Source: the usual oracle of
/// sparse-attention papers. lse is the exact one, [q_heads, q_len].
std::vector<double> reference_block_mass(const HostProblem& problem, std::span<const double> lse,
                                         const BlockGrid& grid);

/// Attention peak of each tile: the largest true probability of one of its (row, key) pairs. Returns and reads the same
/// as reference_block_mass().
std::vector<double> reference_block_peak(const HostProblem& problem, std::span<const double> lse,
                                         const BlockGrid& grid);

}  // namespace salebench
