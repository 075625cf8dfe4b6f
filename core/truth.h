// The exact answer of a problem: attention output and row log-sum-exp, in double precision, for all rows or a sample.
#pragma once

#include <cstdint>
#include <vector>

#include "core/problem.h"
#include "core/reference.h"

namespace salebench {

struct Truth {
  std::vector<int> rows;      ///< the query rows covered, ascending
  std::vector<float> output;  ///< [q_heads, rows, head_dim], rounded from double
  std::vector<double> lse;    ///< [q_heads, rows], natural log
};

/// `count` query rows, spread over the whole length, one drawn from each of `count` equal parts; all rows where count
/// is 0 or at least q_len.
std::vector<int> sample_rows(int q_len, int count, std::uint64_t seed);

/// Exact attention for the given rows.
Truth compute_truth(const HostProblem& problem, std::vector<int> rows, const ProgressCall& progress = {});

}  // namespace salebench
