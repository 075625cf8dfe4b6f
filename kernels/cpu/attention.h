// Multi-threaded float32 attention on the CPU, dense and over block masks, with log-sum-exp. Tiled with an online
// softmax: memory is O(rows of a tile), never q_len x kv_len. Any shape, GQA, q_len <= kv_len, causal or not.
#pragma once

#include "core/block_mask.h"
#include "core/problem.h"
#include "kernels/cpu/workspace.h"

namespace salebench::cpu {

inline constexpr int kMaxHeadDim = 256;

/// How weights enter the product with V: as they are, or 448 times a weight over the row's largest so far rounded to
/// e4m3 (always by the vector kernel).
enum class Weights { exact, e4m3 };

/// Exact attention. Here and below, K and V are packed into the workspace.
void dense_attention(const HostProblem& problem, AttentionView out, Workspace& work = Workspace::of_thread(),
                     Weights weights = Weights::exact);

/// Exact attention of the query rows begin, begin + step, ... below end, as if they were all: `out` holds those rows
/// alone.
void dense_attention_of_rows(const HostProblem& problem, int begin, int end, int step, AttentionView out,
                             Workspace& work = Workspace::of_thread());

/// Attention over the visible keys of kept tiles. A row without any gets output 0 and log-sum-exp -inf.
void block_sparse_attention(const HostProblem& problem, ConstMaskView mask, AttentionView out,
                            Workspace& work = Workspace::of_thread(), Weights weights = Weights::exact);

}  // namespace salebench::cpu
