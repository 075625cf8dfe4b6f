// XAttention's estimate: attention between strides of tokens, scored by the antidiagonals of the map.
#pragma once

#include <vector>

#include "core/block_mask.h"
#include "core/problem.h"

namespace salebench::cpu {

/// Sum over the strided rows of a query block of their probability on the strided keys of a key block: [q_heads,
/// q_blocks, k_blocks]. Strided row i is the `stride` query rows from stride * i on, strided key j the keys from stride
/// * j on, zero past the end. Their score is the product of row and key in opposite order, times scale / stride; a
/// strided row sees the strided keys up to that of its last token. `stride` divides the grid's block sizes. Source:
/// XAttention (arXiv 2503.16428), section 2.1.
std::vector<float> antidiagonal_mass(const HostProblem& problem, int stride, const BlockGrid& grid);

}  // namespace salebench::cpu
