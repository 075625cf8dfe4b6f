// What the formulas of most methods are written in: products, logits, softmax, and the fewest weights that sum to a
// share.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <span>
#include <vector>

#include "core/block_mask.h"
#include "core/problem.h"

namespace salebench {

/// a . b over `dim` values, summed in Sum.
template <class Sum = double>
Sum dot(const float* a, const float* b, int dim) {
  Sum sum = 0;
  for (int d = 0; d < dim; ++d) sum += Sum(a[d]) * b[d];
  return sum;
}

/// q_row . k_key of a query head, without the softmax scale.
inline double product(const HostProblem& p, int head, int row, int key) {
  const std::size_t dim = p.shape.head_dim;
  return dot(p.q_head(head) + row * dim, p.k_of(head) + key * dim, p.shape.head_dim);
}

/// The logit scale * q_row . k_key.
inline double logit(const HostProblem& p, int head, int row, int key) {
  return p.scale * product(p, head, row, key);
}

/// From logits to their softmax, in place; the sum is in double. There must be one at least.
template <class Value>
void softmax(std::span<Value> x) {
  const Value most = *std::ranges::max_element(x);
  double sum = 0;
  for (Value& v : x) sum += v = std::exp(v - most);
  for (Value& v : x) v = Value(v / sum);
}

/// Sorts indices so that the largest weight comes first, and returns the weights in that order; of equals the one that
/// was first stays first.
template <class Weights>
std::vector<float> heaviest_first(std::vector<int>& indices, const Weights& weight) {
  std::ranges::stable_sort(indices, [&](int a, int b) { return weight[a] > weight[b]; });
  std::vector<float> sorted;
  sorted.reserve(indices.size());
  for (const int i : indices) sorted.push_back(weight[i]);
  return sorted;
}

/// What becomes of the weight with which a sum crosses its share.
enum class Crossing { kept, left };

/// The fewest of the weights, in the order given, that sum to `share`, added to `sum` in double: how many these are.
/// With the crossing one left, the most that sum to no more than `share`.
template <class Weights>
int count_to_share(const Weights& weights, double share, Crossing crossing, double sum = 0) {
  int count = 0;
  for (const auto weight : weights) {
    if (crossing == Crossing::kept && !(sum < share)) break;
    sum += weight;
    if (crossing == Crossing::left && sum > share) break;
    ++count;
  }
  return count;
}

/// Keeps the fewest visible tiles of a query block whose mass [k_blocks] sums to `share`, the crossing one included; of
/// equals the lower index goes first. A share of 1 keeps all, whatever the sum rounds to.
template <class Mass>
void keep_share(const Mass& mass, double share, int head, int q_block, MaskView mask) {
  const int begin = mask.grid.visible_begin(q_block), end = mask.grid.causal_end(q_block);
  if (share >= 1) return mask.keep_range(head, q_block, begin, end);
  std::vector<int> order(end - begin);
  std::iota(order.begin(), order.end(), begin);
  order.resize(count_to_share(heaviest_first(order, mass), share, Crossing::kept));
  for (const int kb : order) mask.keep(head, q_block, kb);
}

}  // namespace salebench
