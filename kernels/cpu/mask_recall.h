// The share of the true attention that a mask keeps, in double precision: the figure that methods are compared by, so
// it never rests on the float32 arithmetic of a kernel under test.
#pragma once

#include <span>
#include <vector>

#include "core/block_mask.h"
#include "core/problem.h"

namespace salebench::cpu {

/// Recall of the query rows `rows`, ascending: the sum of exp(logit - lse) over the keys that a row keeps. lse is the
/// exact log-sum-exp of these rows, [q_heads, rows]. Returns [q_heads, rows], as reference_recall() does. Of the kept
/// and the dropped keys the fewer are summed up, so that a row that keeps all it sees has exactly 1.
std::vector<double> mask_recall(const HostProblem& problem, ConstMaskView mask, std::span<const int> rows,
                                std::span<const double> lse);

}  // namespace salebench::cpu
