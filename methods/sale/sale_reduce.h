// Smaller operands for SALE's scan: fewer query rows, fewer keys, fewer channels, fewer bits.
#pragma once

#include <algorithm>
#include <optional>
#include <span>
#include <vector>

#include "core/problem.h"
#include "kernels/cpu/sale_quantize.h"

namespace salebench::sale {

/// What is left out, in this order: `row_pool` query rows and `key_pool` keys become their mean; of the pooled rows
/// every `row_stride`-th stays; the channels are rotated and cut to `channels` (head_dim: as they are); rows are
/// rounded to the format, if there is one: int8 with one scale a row, fp8 (e4m3) with one a row of Q and one for all of
/// K, by its largest value before pooling, so that scores on tensor cores need no scale a key.
struct Reduction {
  int row_pool = 1, row_stride = 1, key_pool = 1;
  int channels = 0;
  std::optional<cpu::RowFormat> format;
};

/// Reduced operands of one head. Row i stands for the tokens [i row_stride row_pool, + row_pool), key j for
/// [j key_pool, + key_pool).
struct ReducedHead {
  int dim = 0, rows = 0, keys = 0;
  std::vector<float> q, k;  // [rows, dim] and [keys, dim]
};

/// p has the mean taken out of K. The rotation is computed on a sample of the pooled rows and keys.
ReducedHead reduce(const HostProblem& p, int head, const Reduction& reduction);

/// The means of query rows that remain, of all channels and unrounded: [rows, head_dim].
std::vector<float> pooled_rows(const HostProblem& p, int head, const Reduction& reduction);

/// The last token that reduced row i is a mean of.
inline int last_token(int i, const Reduction& reduction, int q_len) {
  return std::min(q_len, i * reduction.row_stride * reduction.row_pool + reduction.row_pool) - 1;
}

}  // namespace salebench::sale
