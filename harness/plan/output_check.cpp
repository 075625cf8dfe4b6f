#include "harness/plan/output_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "core/reference.h"
#include "core/truth.h"

namespace salebench {
namespace {

constexpr int kRows = 128;        // sampled for the distance
constexpr int kReadingRows = 16;  // for each of many other readings
constexpr double kClearlyNearer = 4;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Half a unit in the last place of 1.
double rounding_of(const std::string& dtype) {
  return dtype == "bfloat16" || dtype == "mixed" ? std::ldexp(1, -9)
         : dtype == "float16"                    ? std::ldexp(1, -12)
                                                 : std::ldexp(1, -25);
}

/// A problem's double reference and its stored output, on sampled rows.
class Comparison {
 public:
  Comparison(const ProblemTensors& problem, const std::vector<float>& output, int rows)
      : shape_(problem.shape), rows_(sample_rows(problem.shape.q_len, rows, 1)) {
    const std::size_t dim = shape_.head_dim;
    for (int head = 0; head < shape_.q_heads; ++head)
      for (const int row : rows_) {
        const auto at = output.begin() + std::ptrdiff_t((std::size_t(head) * shape_.q_len + row) * dim);
        stored_.insert(stored_.end(), at, at + std::ptrdiff_t(dim));
      }
  }

  /// Of each head; the problem may be another reading of the same tensors.
  std::vector<double> distances(const ProblemTensors& problem) const {
    const ReferenceResult exact = reference_attention(problem.view(), nullptr, rows_);
    const std::size_t size = rows_.size() * std::size_t(shape_.head_dim);
    std::vector<double> distances;
    for (std::size_t head = 0; head < std::size_t(shape_.q_heads); ++head) {
      double difference = 0, norm = 0;
      for (std::size_t i = head * size; i < (head + 1) * size; ++i) {
        difference += (stored_[i] - exact.output[i]) * (stored_[i] - exact.output[i]);
        norm += exact.output[i] * exact.output[i];
      }
      distances.push_back(difference == 0 ? 0 : norm > 0 ? std::sqrt(difference / norm) : kInfinity);
    }
    return distances;
  }
  double worst_distance(const ProblemTensors& problem) const {
    const std::vector<double> all = distances(problem);
    return *std::ranges::max_element(all);
  }
  /// Typical size of what a softmax weighs its keys by: the root mean square of logits around their row's mean, or of
  /// logits themselves.
  double logit_size(const ProblemTensors& p, bool around_mean) const {
    const HostProblem problem = p.view();
    double sum = 0;
    std::size_t count = 0;
    for (int head = 0; head < shape_.q_heads; ++head)
      for (const int row : rows_) {
        const float* const q = problem.q_head(head) + std::size_t(row) * shape_.head_dim;
        double row_sum = 0, row_squares = 0;
        const int begin = problem.key_begin(row), end = problem.key_end(row);
        for (int key = begin; key < end; ++key) {
          const float* const k = problem.k_of(head) + std::size_t(key) * shape_.head_dim;
          double dot = 0;
          for (int d = 0; d < shape_.head_dim; ++d) dot += double(q[d]) * k[d];
          row_sum += p.scale * dot, row_squares += p.scale * dot * p.scale * dot;
        }
        sum += std::max(0.0, row_squares - (around_mean ? row_sum * row_sum / (end - begin) : 0));
        count += std::size_t(end - begin);
      }
    return std::sqrt(sum / double(count));
  }

 private:
  Shape shape_;
  std::vector<int> rows_;
  std::vector<float> stored_;  // [q_heads, rows, head_dim]
};

/// Query head h reads KV head h mod kv_heads: KV heads tiled, where ours repeats each for its group.
std::optional<ProblemTensors> with_tiled_heads(const ProblemTensors& p) {
  const Shape& s = p.shape;
  if (s.kv_heads == 1 || s.kv_heads == s.q_heads) return std::nullopt;
  ProblemTensors read = p;
  read.shape.kv_heads = s.q_heads;
  const auto size = std::ptrdiff_t(p.view().kv_head_size());
  for (const auto tensor : {&ProblemTensors::k, &ProblemTensors::v}) {
    (read.*tensor).clear();
    for (std::ptrdiff_t head = 0; head < s.q_heads; ++head) {
      const auto from = (p.*tensor).begin() + head % s.kv_heads * size;
      (read.*tensor).insert((read.*tensor).end(), from, from + size);
    }
  }
  return read;
}

/// Row i sees keys 0 to i, whatever the lengths: causality aligned at the first token.
std::optional<ProblemTensors> aligned_at_first(const ProblemTensors& p) {
  if (!p.causal || p.shape.q_len == p.shape.kv_len) return std::nullopt;
  ProblemTensors read = p;
  read.shape.kv_len = p.shape.q_len;
  const auto size = std::ptrdiff_t(p.view().kv_head_size()), kept = std::ptrdiff_t(p.shape.q_len) * p.shape.head_dim;
  for (const auto tensor : {&ProblemTensors::k, &ProblemTensors::v}) {
    (read.*tensor).clear();
    for (std::ptrdiff_t head = 0; head < p.shape.kv_heads; ++head)
      (read.*tensor)
          .insert((read.*tensor).end(), (p.*tensor).begin() + head * size, (p.*tensor).begin() + head * size + kept);
  }
  return read;
}

ProblemTensors with_scale(ProblemTensors p, double scale) {
  p.scale = float(scale);
  return p;
}

ProblemTensors with_window(ProblemTensors p, int window) {
  p.sliding_window = window < p.shape.kv_len ? window : 0;
  return p;
}

/// The scale that comes nearest, between an eighth and 8 times the given one, by a grid and then thirds of its best
/// gap.
double nearest_scale(const Comparison& compare, const ProblemTensors& p) {
  const auto distance = [&](double log2) { return compare.worst_distance(with_scale(p, p.scale * std::exp2(log2))); };
  double best = 0, least = kInfinity;
  for (int quarter = -12; quarter <= 12; ++quarter)
    if (const double d = distance(0.25 * quarter); d < least) least = d, best = 0.25 * quarter;
  double low = best - 0.25, high = best + 0.25;
  for (int i = 0; i < 12; ++i) {
    const double third = (high - low) / 3;
    distance(low + third) < distance(high - third) ? high -= third : low += third;
  }
  return p.scale * std::exp2((low + high) / 2);
}

/// Says so if a window one off comes nearer than `bound`.
std::string explain_window(const Comparison& compare, const ProblemTensors& p, double bound) {
  for (const int window : {p.sliding_window - 1, p.sliding_window + 1})
    if (p.sliding_window > 0 && window > 0 && compare.worst_distance(with_window(p, window)) < bound)
      return fmt::format("its sliding window is of {} keys, the row's own among them: store window = {}", window,
                         window);
  return "";
}

/// What makes the output right; empty if nothing tried does.
std::string explain(const Comparison& compare, const ProblemTensors& p, double bound) {
  const auto fits = [&](const ProblemTensors& read) { return compare.worst_distance(read) <= bound; };
  if (const auto read = with_tiled_heads(p); read && fits(*read))
    return "its KV heads are tiled (query head h reads KV head h mod kv_heads): repeat each for its group instead";
  if (const auto read = aligned_at_first(p); read && fits(*read))
    return "its causal mask is aligned at the first token: here row i sits at token kv_len - q_len + i";
  ProblemTensors read = p;
  read.causal = !p.causal, read.sliding_window = 0;
  if (fits(read)) return p.causal ? "it is not causal: store causal = 0" : "it is causal: store causal = 1";
  if (p.sliding_window > 0 && fits(with_window(p, 0)))
    return "it has no sliding window: leave the attribute window out";
  if (std::string better = explain_window(compare, p, bound); !better.empty()) return better;
  const double usual = 1 / std::sqrt(double(p.shape.head_dim));
  for (const double scale : {usual, 1.0, usual * usual, p.scale * usual, p.scale / usual})
    if (fits(with_scale(p, scale))) return fmt::format("its scale is {:.6g}, not {:.6g}", scale, p.scale);
  // A search ends near a scale, not at it.
  if (const double scale = nearest_scale(compare, p);
      compare.worst_distance(with_scale(p, scale)) <= std::max(bound, 0.02 * compare.worst_distance(p)))
    return fmt::format("its scale is about {:.3g}, not {:.6g}", scale, p.scale);
  return "";
}

}  // namespace

double OutputCheck::worst() const {
  double worst = 0;
  for (const double d : distance) worst = d <= worst ? worst : d;  // keeps a NaN
  return worst;
}

bool OutputCheck::agrees() const {
  return worst() <= bound && explanation.empty();
}

std::string OutputCheck::complaint() const {
  if (agrees()) return "";
  return fmt::format(
      "its output differs by {:.2g} (relative L2) from what its q, k and v give, of which rounding explains {:.1g}; {}",
      worst(), bound,
      explanation.empty() ? "neither head order, alignment, window nor scale explains it" : explanation);
}

OutputCheck check_output(const ProblemTensors& problem, const std::string& dtype, const std::vector<float>& output,
                         const std::string& output_dtype) {
  const Comparison fewer(problem, output, kReadingRows);
  OutputCheck check{Comparison(problem, output, kRows).distances(problem), 0, {}};
  // A kernel rounds weights and output to the type it works in; if it rounded q and k too after its own use of them,
  // logits are off by their size times the rounding.
  const double rounding = std::max(rounding_of(dtype), rounding_of(output_dtype));
  const auto bound_of = [&](bool around_mean) {
    return std::max(1e-5, rounding * (3 + 2 * fewer.logit_size(problem, around_mean)));
  };
  check.bound = bound_of(true);
  if (check.agrees()) {  // of a wide window, one key more or less is less than rounding may explain
    check.explanation = explain_window(fewer, problem, fewer.worst_distance(problem) / kClearlyNearer);
  } else {
    check.explanation = explain(fewer, problem, check.bound);
    // A model that stores logits in 16 bits also rounds what all logits of a row have in common.
    if (check.explanation.empty()) check.bound = bound_of(false);
  }
  return check;
}

std::optional<OutputCheck> check_stored_output(const Dataset& dataset, const ProblemInfo& info,
                                               const ProblemTensors& problem) {
  if (info.softcap > 0 || info.sinks) return std::nullopt;  // no arithmetic here gives such an output
  const std::vector<float> output = dataset.load_output(info.id);
  if (output.empty()) return std::nullopt;
  const bool hides_keys = info.sliding_window > 0 && info.shape.offset() > 0;  // a wider window may show them
  return check_output(hides_keys ? dataset.load(info.id, LoadedKeys::kUnpadded) : problem, info.dtype, output,
                      dataset.output_dtype(info.id));
}

}  // namespace salebench
