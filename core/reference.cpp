#include "core/reference.h"

#include <Eigen/Core>
#include <atomic>
#include <cmath>
#include <limits>
#include <mutex>
#include <numeric>

#include "core/truth.h"

namespace salebench {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using FloatRows = Eigen::Map<const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>;

constexpr int kRowTile = 64;
constexpr int kKeyTile = 512;
constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();

/// Keys [begin, end) of a [kv_len, dim] head, in double.
Matrix double_rows(const float* head, int begin, int end, int dim) {
  return FloatRows(head + std::size_t(begin) * dim, end - begin, dim).cast<double>();
}

/// Scores of one tile of rows against keys [begin, end), scaled; -inf where the row does not see the key.
Matrix scores(const HostProblem& p, const ConstMaskView* mask, int head, std::span<const int> rows, const Matrix& q,
              int begin, int end) {
  Matrix s = p.scale * (q * double_rows(p.k_of(head), begin, end, p.shape.head_dim).transpose());
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const int row = rows[r], first_seen = std::clamp(p.key_begin(row), begin, end);
    auto scores_of_row = s.row(Eigen::Index(r));
    scores_of_row.head(first_seen - begin).setConstant(kMinusInfinity);
    scores_of_row.tail(end - std::clamp(p.key_end(row), begin, end)).setConstant(kMinusInfinity);
    for (int key = first_seen; mask && key < end; ++key)
      if (!mask->grid.visible(row, key) || !mask->kept(head, row / mask->grid.block.q, key / mask->grid.block.k))
        scores_of_row[key - begin] = kMinusInfinity;
  }
  return s;
}

Matrix query_tile(const HostProblem& p, int head, std::span<const int> rows) {
  Matrix q(Eigen::Index(rows.size()), p.shape.head_dim);
  for (std::size_t r = 0; r < rows.size(); ++r)
    q.row(Eigen::Index(r)) =
        FloatRows(p.q_head(head) + std::size_t(rows[r]) * p.shape.head_dim, 1, p.shape.head_dim).cast<double>();
  return q;
}

/// Online softmax over the keys of one tile of rows; writes output [rows, dim] and lse [rows].
void attend_rows(const HostProblem& p, const ConstMaskView* mask, int head, std::span<const int> rows, double* output,
                 double* lse) {
  const Matrix q = query_tile(p, head, rows);
  const int key_end = p.key_end(rows.back());
  const auto count = Eigen::Index(rows.size());
  Matrix sum = Matrix::Zero(count, p.shape.head_dim);
  Eigen::VectorXd row_max = Eigen::VectorXd::Constant(count, kMinusInfinity);
  Eigen::VectorXd row_sum = Eigen::VectorXd::Zero(count);
  for (int begin = p.key_begin(rows.front()) / kKeyTile * kKeyTile; begin < key_end; begin += kKeyTile) {
    const int end = std::min(key_end, begin + kKeyTile);
    Matrix s = scores(p, mask, head, rows, q, begin, end);
    for (Eigen::Index r = 0; r < count; ++r) {
      const double tile_max = s.row(r).maxCoeff();
      if (tile_max == kMinusInfinity) {
        s.row(r).setZero();
        continue;
      }
      const double new_max = std::max(row_max[r], tile_max);
      const double rescale = std::exp(row_max[r] - new_max);
      // Eigen's exp(-inf) is a denormal, which would slow the product below to a tenth.
      s.row(r) = (s.row(r).array() == kMinusInfinity).select(0.0, (s.row(r).array() - new_max).exp());
      row_sum[r] = row_sum[r] * rescale + s.row(r).sum();
      sum.row(r) *= rescale;
      row_max[r] = new_max;
    }
    sum.noalias() += s * double_rows(p.v_of(head), begin, end, p.shape.head_dim);
  }
  for (Eigen::Index r = 0; r < count; ++r) {
    if (row_sum[r] > 0) sum.row(r) /= row_sum[r];
    lse[r] = row_max[r] + std::log(row_sum[r]);
  }
  std::copy(sum.data(), sum.data() + sum.size(), output);
}

std::vector<int> all_rows(int q_len) {
  std::vector<int> rows(q_len);
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

/// One value a tile, [q_heads, q_blocks, k_blocks], from 0 by fold(value, true probability of a pair, rows of the
/// block).
template <class Fold>
std::vector<double> fold_tiles(const HostProblem& p, std::span<const double> lse, const BlockGrid& grid,
                               const Fold& fold) {
  std::vector<double> values(std::size_t(p.shape.q_heads) * grid.q_blocks() * grid.k_blocks());
  const std::vector<int> rows = all_rows(p.shape.q_len);
#pragma omp parallel for collapse(2) schedule(dynamic)
  for (int head = 0; head < p.shape.q_heads; ++head) {
    for (int qb = 0; qb < grid.q_blocks(); ++qb) {
      const auto part = std::span(rows).subspan(grid.q_begin(qb), grid.q_end(qb) - grid.q_begin(qb));
      const Matrix q = query_tile(p, head, part);
      double* out = &values[(std::size_t(head) * grid.q_blocks() + qb) * grid.k_blocks()];
      for (int begin = p.key_begin(part.front()); begin < p.key_end(part.back()); begin += kKeyTile) {
        const int end = std::min(p.key_end(part.back()), begin + kKeyTile);
        const Matrix s = scores(p, nullptr, head, part, q, begin, end);
        for (std::size_t r = 0; r < part.size(); ++r)
          for (int key = begin; key < end; ++key)
            fold(out[key / grid.block.k],
                 std::exp(s(Eigen::Index(r), key - begin) - lse[std::size_t(head) * p.shape.q_len + part[r]]),
                 double(part.size()));
      }
    }
  }
  return values;
}

}  // namespace

ReferenceResult reference_attention(const HostProblem& p, const ConstMaskView* mask, std::span<const int> wanted,
                                    const ProgressCall& progress) {
  const std::vector<int> every = wanted.empty() ? all_rows(p.shape.q_len) : std::vector<int>();
  const std::span<const int> rows = wanted.empty() ? std::span<const int>(every) : wanted;
  ReferenceResult result;
  result.output.resize(std::size_t(p.shape.q_heads) * rows.size() * p.shape.head_dim);
  result.lse.resize(std::size_t(p.shape.q_heads) * rows.size());
  const int tiles = int((rows.size() + kRowTile - 1) / kRowTile);
  double done = 0;
  std::mutex mutex;
  std::atomic<bool> stopped = false;
#pragma omp parallel for collapse(2) schedule(dynamic)
  for (int tile = tiles - 1; tile >= 0; --tile) {  // longest rows first, so that the threads end together
    for (int head = 0; head < p.shape.q_heads; ++head) {
      if (stopped) continue;
      const auto part = rows.subspan(std::size_t(tile) * kRowTile,
                                     std::min<std::size_t>(kRowTile, rows.size() - std::size_t(tile) * kRowTile));
      const std::size_t first = std::size_t(head) * rows.size() + std::size_t(tile) * kRowTile;
      attend_rows(p, mask, head, part, &result.output[first * p.shape.head_dim], &result.lse[first]);
      if (progress) {
        const std::lock_guard lock(mutex);
        done += double(tile + 1);
        if (!progress(done / (0.5 * tiles * (tiles + 1) * p.shape.q_heads))) stopped = true;
      }
    }
  }
  if (stopped) throw Stopped("the computation of exact attention was stopped");
  return result;
}

std::vector<double> reference_recall(const HostProblem& p, ConstMaskView mask, std::span<const int> rows,
                                     std::span<const double> lse) {
  std::vector<double> recall = reference_attention(p, &mask, rows).lse;
  for (std::size_t i = 0; i < recall.size(); ++i) recall[i] = std::exp(recall[i] - lse[i]);
  return recall;
}

std::vector<double> reference_block_mass(const HostProblem& p, std::span<const double> lse, const BlockGrid& grid) {
  return fold_tiles(p, lse, grid, [](double& mass, double probability, double rows) { mass += probability / rows; });
}

std::vector<double> reference_block_peak(const HostProblem& p, std::span<const double> lse, const BlockGrid& grid) {
  return fold_tiles(p, lse, grid, [](double& peak, double probability, double) { peak = std::max(peak, probability); });
}

std::vector<int> sample_rows(int q_len, int count, std::uint64_t seed) {
  if (count <= 0 || count >= q_len) return all_rows(q_len);
  std::vector<int> rows(count);
  for (int i = 0; i < count; ++i) {
    const auto begin = std::int64_t(q_len) * i / count;
    const auto end = std::int64_t(q_len) * (i + 1) / count;
    // One step of splitmix64 a row: the sample depends on the seed alone, not on a library's generator.
    std::uint64_t x = seed + 0x9e3779b97f4a7c15u * std::uint64_t(i + 1);
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    rows[i] = int(begin + std::int64_t((x ^ x >> 31) % std::uint64_t(end - begin)));
  }
  return rows;
}

Truth compute_truth(const HostProblem& p, std::vector<int> rows, const ProgressCall& progress) {
  ReferenceResult exact = reference_attention(p, nullptr, rows, progress);
  return {std::move(rows), {exact.output.begin(), exact.output.end()}, std::move(exact.lse)};
}

}  // namespace salebench
