// The plain form of the statistic that vertical_slash and flexprefill share: the attention map of the last queries,
// summed along columns and diagonals.
#pragma once

#include <algorithm>
#include <numeric>
#include <span>
#include <vector>

#include "kernels/cpu/line_sums.h"
#include "methods/shared/logits.h"

namespace salebench {

/// What cpu::line_sums returns for one head, from the formula.
inline cpu::LineSums plain_line_sums(const HostProblem& p, int head, int rows) {
  std::vector<double> column(p.shape.kv_len), offset(p.shape.kv_len);
  for (int row = std::max(0, p.shape.q_len - rows); row < p.shape.q_len; ++row) {
    std::vector<double> weight(p.key_end(row));
    for (std::size_t key = 0; key < weight.size(); ++key) weight[key] = logit(p, head, row, int(key));
    softmax(std::span(weight));
    for (std::size_t key = 0; key < weight.size(); ++key) {
      column[key] += weight[key];
      offset[weight.size() - 1 - key] += weight[key];
    }
  }
  return {{column.begin(), column.end()}, {offset.begin(), offset.end()}};
}

/// Indices of the `count` largest values, the first `forced` taken for the largest of all; ascending. Of equals the
/// lower index goes first.
inline std::vector<int> strongest(std::span<const float> value, int count, int forced) {
  const int size = int(value.size());
  std::vector<int> index(size);
  std::iota(index.begin(), index.end(), 0);
  count = std::clamp(count, 0, size), forced = std::min(forced, count);
  std::nth_element(index.begin() + forced, index.begin() + count, index.end(),
                   [&](int a, int b) { return value[a] > value[b] || (value[a] == value[b] && a < b); });
  index.resize(count);
  std::ranges::sort(index);
  return index;
}

}  // namespace salebench
