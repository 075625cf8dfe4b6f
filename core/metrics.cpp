#include "core/metrics.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

#include "core/stats.h"

namespace salebench {
namespace {

ErrorSums row_errors(const float* got, const float* exact, int dim) {
  ErrorSums sums;
  double dot = 0, got_squared = 0;
  for (int d = 0; d < dim; ++d) {
    const double difference = double(got[d]) - exact[d];
    sums.difference_squared += difference * difference;
    sums.exact_squared += double(exact[d]) * exact[d];
    sums.absolute += std::fabs(difference);
    sums.max_abs = std::max(sums.max_abs, std::fabs(difference));
    dot += double(got[d]) * exact[d];
    got_squared += double(got[d]) * got[d];
  }
  const double norms = std::sqrt(got_squared * sums.exact_squared);
  sums.cos_min = norms > 0 ? dot / norms : double(got_squared == sums.exact_squared);
  return sums;
}

void set_recall(Accuracy& a, const std::vector<double>& recall) {
  a.recall_mean = std::accumulate(recall.begin(), recall.end(), 0.0) / double(recall.size());
  a.recall_p05 = quantile(recall, 0.05);
  a.recall_min = *std::min_element(recall.begin(), recall.end());
}

void set_counts(Accuracy& a, const MaskCounts& counts, int dim) {
  a.density = double(counts.tokens) / double(counts.dense_tokens);
  a.tile_density = double(counts.tiles) / double(counts.causal_tiles);
  a.flops_executed = 4.0 * dim * double(counts.executed_tokens);
  a.flops_dense = 4.0 * dim * double(counts.dense_tokens);
}

void set_errors(Accuracy& a, const ErrorSums& sums, double rows) {
  a.rel_l2 = sums.rel_l2();
  a.max_abs = sums.max_abs;
  a.l1_per_token = sums.absolute / rows;
  a.cos_min = sums.cos_min;
}

}  // namespace

void ErrorSums::add(const ErrorSums& other) {
  difference_squared += other.difference_squared;
  exact_squared += other.exact_squared;
  absolute += other.absolute;
  max_abs = std::max(max_abs, other.max_abs);
  cos_min = std::min(cos_min, other.cos_min);
}

double ErrorSums::rel_l2() const {
  return difference_squared == 0 ? 0 : std::sqrt(difference_squared / exact_squared);
}

ProblemAccuracy accuracy_of(const std::vector<HeadSums>& heads, int head_dim) {
  ProblemAccuracy result;
  std::vector<double> every_recall;
  ErrorSums every_error;
  MaskCounts every_count;
  for (const HeadSums& sums : heads) {
    Accuracy& a = result.heads.emplace_back();
    set_recall(a, sums.recall);
    set_counts(a, sums.counts, head_dim);
    set_errors(a, sums.errors, double(sums.recall.size()));
    result.rel_l2_worst = std::max(result.rel_l2_worst, a.rel_l2);
    every_recall.insert(every_recall.end(), sums.recall.begin(), sums.recall.end());
    every_error.add(sums.errors);
    every_count.add(sums.counts);
  }
  set_recall(result.overall, every_recall);
  set_counts(result.overall, every_count, head_dim);
  set_errors(result.overall, every_error, double(every_recall.size()));
  return result;
}

ProblemAccuracy measure_accuracy(const Shape& shape, const Truth& truth, ConstMaskView mask,
                                 std::span<const float> output, std::span<const double> recall,
                                 std::int64_t extra_pairs, const RowSet& rows) {
  std::vector<std::size_t> scored;  // places in the truth
  for (std::size_t i = 0; i < truth.rows.size(); ++i)
    if (rows.contains(truth.rows[i])) scored.push_back(i);
  if (scored.empty()) throw std::invalid_argument("the truth has none of the rows to be scored");
  const double extra = double(extra_pairs) * double(mask.grid.dense_tokens(rows)) / double(mask.grid.dense_tokens());
  std::vector<HeadSums> heads(shape.q_heads);
  for (int head = 0; head < shape.q_heads; ++head) {
    HeadSums& sums = heads[head];
    sums.recall.reserve(scored.size());
    for (const std::size_t i : scored) {
      const std::size_t row = std::size_t(head) * shape.q_len + truth.rows[i];
      const std::size_t exact = std::size_t(head) * truth.rows.size() + i;
      sums.recall.push_back(recall[exact]);
      sums.errors.add(row_errors(&output[row * shape.head_dim], &truth.output[exact * shape.head_dim], shape.head_dim));
    }
    sums.counts = count_mask(mask, head, rows);
    sums.counts.tokens += std::llround(extra), sums.counts.executed_tokens += std::llround(extra);
  }
  return accuracy_of(heads, shape.head_dim);
}

}  // namespace salebench
