#include "core/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

#include "core/stats.h"

namespace salebench {
namespace {

ErrorSums row_errors(const float* got, const float* exact, int dim) {
  RowSums<double> row;
  for (int d = 0; d < dim; ++d) row.add(got[d], exact[d]);
  return ErrorSums(row);
}

double rel_l2(const ErrorSums& errors) {
  return errors.difference_squared == 0 ? 0 : std::sqrt(errors.difference_squared / errors.exact_squared);
}

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / double(values.size());
}

/// FLOPs of Q K^T and P V.
double flops(const HeadSums& sums, std::int64_t pairs) {
  return 4.0 * sums.head_dim * double(pairs);
}

const Figure kFigures[] = {
    {"density", "", "density (kept / visible pairs)", "kept visible (query, key) pairs / visible pairs",
     &Accuracy::density, [](const HeadSums& s) { return double(s.counts.tokens) / double(s.counts.dense_tokens); },
     "density", Better::smaller},
    {"tile_density", "", "density of tiles", "kept tiles / tiles that hold a visible pair", &Accuracy::tile_density,
     [](const HeadSums& s) { return double(s.counts.tiles) / double(s.counts.causal_tiles); }, "", Better::smaller},
    {"recall_mean", "", "mean recall", "true softmax probability on kept keys, mean over rows and heads",
     &Accuracy::recall_mean, [](const HeadSums& s) { return mean(s.recall); }, "recall", Better::larger, true, true},
    {"recall_p05", "", "5th percentile of recall", "the same, 5th percentile of rows", &Accuracy::recall_p05,
     [](const HeadSums& s) { return quantile(s.recall, 0.05); }, "", Better::larger},
    {"recall_min", "", "smallest recall", "the same, worst row", &Accuracy::recall_min,
     [](const HeadSums& s) { return *std::ranges::min_element(s.recall); }, "", Better::larger},
    {"rel_l2", "", "output error, relative L2", "relative L2 error of the output over the problem", &Accuracy::rel_l2,
     [](const HeadSums& s) { return rel_l2(s.errors); }, "rel_l2", Better::smaller, true, true},
    {"rel_l2_worst", "", "output error of the worst head, relative L2", "relative L2 error of the worst head",
     &Accuracy::rel_l2_worst, [](const HeadSums& s) { return s.rel_l2_worst; }, "", Better::smaller, false},
    {"mask_rel_l2", "", "relative L2 error of the mask",
     "relative L2 error of exact attention over the mask: rel_l2 without quantisation or correction",
     &Accuracy::mask_rel_l2, [](const HeadSums& s) { return s.masked ? rel_l2(*s.masked) : kNoValue; }, "",
     Better::smaller},
    {"attend_rel_l2", "", "relative L2 error of the arithmetic",
     "relative L2 distance of the output from exact attention over the same mask: of quantisation, correction or "
     "skipping alone. NaN where the method attends exactly",
     &Accuracy::attend_rel_l2, [](const HeadSums& s) { return s.attend ? rel_l2(*s.attend) : kNoValue; }, "",
     Better::smaller},
    {"attend_gain", "", "gain of the arithmetic", "projection of the output on exact attention over the same mask",
     &Accuracy::attend_gain,
     [](const HeadSums& s) { return s.attend ? s.attend->product / s.attend->exact_squared : kNoValue; }},
    {"max_abs", "", "largest absolute error", "largest absolute error of the output", &Accuracy::max_abs,
     [](const HeadSums& s) { return s.errors.max_abs; }, "", Better::smaller},
    {"l1_per_token", "", "L1 error a token",
     "sum of absolute errors of a head / rows, mean over heads (SALE's calibration error)", &Accuracy::l1_per_token,
     [](const HeadSums& s) { return s.errors.absolute / double(s.recall.size()); }, "l1_per_token", Better::smaller,
     true, true},
    {"cos_min", "", "smallest cosine", "smallest cosine between a computed and an exact output row", &Accuracy::cos_min,
     [](const HeadSums& s) { return s.errors.cos_min; }, "", Better::larger},
    {"gain", "", "gain",
     "projection of the output on the exact one, o . o* / o* . o*: 1 is right, less a shrunken output", &Accuracy::gain,
     [](const HeadSums& s) { return s.errors.product / s.errors.exact_squared; }},
    {"flops_executed", "FLOP", "FLOPs in kept tiles", "4 head_dim per pair in kept tiles; selection not counted",
     &Accuracy::flops_executed, [](const HeadSums& s) { return flops(s, s.counts.executed_tokens); }, "",
     Better::smaller, false},
    {"flops_dense", "FLOP", "FLOPs of dense attention", "4 head_dim per visible pair", &Accuracy::flops_dense,
     [](const HeadSums& s) { return flops(s, s.counts.dense_tokens); }, "", Better::neither, false},
};

Accuracy accuracy_of(const HeadSums& sums) {
  Accuracy accuracy;
  for (const Figure& figure : kFigures) accuracy.*figure.member = figure.of(sums);
  return accuracy;
}

}  // namespace

std::span<const Figure> figures() {
  return kFigures;
}

const Figure& calibrated_figure(std::string_view name) {
  const auto found = std::ranges::find(kFigures, name, &Figure::calibrated);
  if (name.empty() || found == std::end(kFigures))
    throw std::invalid_argument(fmt::format("calibrations have no figure '{}'", name));
  return *found;
}

double worse(const Figure& figure, double a, double b) {
  return figure.better == Better::larger ? std::fmin(a, b) : std::fmax(a, b);
}

void HeadSums::add(const HeadSums& head) {
  head_dim = head.head_dim;
  counts.add(head.counts);
  errors.add(head.errors);
  if (head.masked) (masked ? *masked : masked.emplace()).add(*head.masked);
  if (head.attend) (attend ? *attend : attend.emplace()).add(*head.attend);
  recall.insert(recall.end(), head.recall.begin(), head.recall.end());
  rel_l2_worst = std::max(rel_l2_worst, rel_l2(head.errors));
}

ProblemAccuracy accuracy_of(const std::vector<HeadSums>& heads) {
  ProblemAccuracy result;
  HeadSums all;
  for (const HeadSums& head : heads) {
    result.heads.push_back(accuracy_of(head));
    all.add(head);
  }
  result.overall = accuracy_of(all);
  return result;
}

std::vector<HeadSums> sum_heads(const Shape& shape, const Truth& truth, ConstMaskView mask,
                                std::span<const float> output, std::span<const float> masked,
                                std::span<const double> recall, std::int64_t extra_pairs, const RowSet& rows) {
  std::vector<std::size_t> scored;  // places in the truth
  for (std::size_t i = 0; i < truth.rows.size(); ++i)
    if (rows.contains(truth.rows[i])) scored.push_back(i);
  if (scored.empty()) throw std::invalid_argument("the truth has none of the rows to be scored");
  const double extra = double(extra_pairs) * double(mask.grid.dense_tokens(rows)) / double(mask.grid.dense_tokens());
  const int dim = shape.head_dim;
  std::vector<HeadSums> heads(std::size_t(shape.q_heads));
  for (int head = 0; head < shape.q_heads; ++head) {
    HeadSums& sums = heads[std::size_t(head)];
    sums.head_dim = dim;
    sums.recall.reserve(scored.size());
    for (const std::size_t i : scored) {
      const std::size_t row = std::size_t(head) * shape.q_len + truth.rows[i];
      const std::size_t exact = std::size_t(head) * truth.rows.size() + i;
      sums.recall.push_back(recall[exact]);
      sums.errors.add(row_errors(&output[row * dim], &truth.output[exact * dim], dim));
      if (masked.empty() || masked.data() == output.data()) continue;
      (sums.masked ? *sums.masked : sums.masked.emplace())
          .add(row_errors(&masked[row * dim], &truth.output[exact * dim], dim));
      (sums.attend ? *sums.attend : sums.attend.emplace()).add(row_errors(&output[row * dim], &masked[row * dim], dim));
    }
    if (masked.data() == output.data()) sums.masked = sums.errors;
    sums.counts = count_mask(mask, head, rows);
    sums.counts.tokens += std::llround(extra), sums.counts.executed_tokens += std::llround(extra);
  }
  return heads;
}

ProblemAccuracy measure_accuracy(const Shape& shape, const Truth& truth, ConstMaskView mask,
                                 std::span<const float> output, std::span<const double> recall,
                                 std::int64_t extra_pairs, const RowSet& rows) {
  return accuracy_of(sum_heads(shape, truth, mask, output, output, recall, extra_pairs, rows));
}

}  // namespace salebench
