// XAttention's estimate: attention between strides of tokens, scored by the antidiagonals of the map.
#pragma once

#include <vector>

#include "core/block_mask.h"
#include "core/problem.h"
#include "kernels/cpu/packed.h"

namespace salebench::cpu {

/// Keys of every KV head in strides: row j holds keys [stride j, stride (j + 1)) one after the other, zero beyond
/// kv_len.
std::vector<PackedHead> pack_strided_keys(const HostProblem& problem, int stride);

/// Sum over the strided rows of a query block of their probability on the strided keys of a key block: [q_blocks,
/// k_blocks] of one query head. Strided row i sums the `stride` query rows from stride * i on against the strided key
/// in reverse order, times scale / stride, and sees the strided keys up to that of its last token. `stride` divides the
/// grid's block sizes. Source: XAttention (arXiv 2503.16428), section 2.1.
std::vector<float> antidiagonal_mass(const HostProblem& problem, const PackedHead& strided_keys, int head, int stride,
                                     const BlockGrid& grid);

}  // namespace salebench::cpu
