#include "kernels/cpu/line_sums.h"

#include <algorithm>
#include <numbers>

#include "kernels/cpu/softmax_tile.h"

namespace salebench::cpu {
namespace {

constexpr int kTaskRows = 16;   // few, so that the rows of one head occupy all threads
constexpr int kSumKeys = 1024;  // keys and offsets that one task sums

/// Probabilities of query rows [first, q_len) of one head, at `stride`.
void fill_map(const HostProblem& p, const PackedHead& keys, int head, int first, float* map, std::size_t stride) {
#pragma omp parallel
  {
    std::vector<float> queries;
#pragma omp for schedule(dynamic)
    for (int begin = first; begin < p.shape.q_len; begin += kTaskRows) {
      const int end = std::min(p.shape.q_len, begin + kTaskRows);
      pack_queries(p, head, begin, end, p.scale * std::numbers::log2e_v<float>, queries);
      ScoreTask task;
      task.q = queries.data();
      task.rows = end - begin;
      task.dim = p.shape.head_dim;
      task.kv = &keys;
      task.limits.first_position = p.shape.offset() + begin;
      task.limits.kv_len = p.shape.kv_len;
      softmax_tile(task, p.shape.kv_len, map + std::size_t(begin - first) * stride, stride);
    }
  }
}

/// map [rows, kv_len] at `stride`, whose last row is at position kv_len - 1.
LineSums sum_lines(const float* map, int rows, int kv_len, std::size_t stride) {
  LineSums sums = {std::vector<float>(kv_len), std::vector<float>(kv_len)};
#pragma omp parallel for schedule(dynamic)
  for (int begin = 0; begin < kv_len; begin += kSumKeys) {
    const int end = std::min(kv_len, begin + kSumKeys);
    for (int r = 0; r < rows; ++r) {
      const float* const row = map + r * stride;
      const int own = kv_len - rows + r;
      for (int key = begin; key < end; ++key) sums.column[key] += row[key];
      for (int offset = begin; offset < std::min(end, own + 1); ++offset) sums.offset[offset] += row[own - offset];
    }
  }
  return sums;
}

}  // namespace

std::vector<LineSums> line_sums(const HostProblem& p, int rows) {
  rows = std::min(rows, p.shape.q_len);
  const std::vector<PackedHead> packed = pack_heads(p, false);
  const std::size_t stride = round_up(p.shape.kv_len, kPanelKeys);
  std::vector<float> map(round_up(rows, kRowStep) * stride);
  std::vector<LineSums> sums;
  for (int head = 0; head < p.shape.q_heads; ++head) {
    fill_map(p, packed[p.shape.kv_head_of(head)], head, p.shape.q_len - rows, map.data(), stride);
    sums.push_back(sum_lines(map.data(), rows, p.shape.kv_len, stride));
  }
  return sums;
}

}  // namespace salebench::cpu
