#include "kernels/cpu/line_sums.h"

#include <algorithm>
#include <numbers>

#include "kernels/cpu/softmax_tile.h"

namespace salebench::cpu {
namespace {

constexpr int kTaskRows = 32;  // few, so that there are tasks for all threads even if there are few heads

/// Sums over query rows [begin, end) of one head. `map` is a buffer that the thread reuses.
LineSums sum_rows(const HostProblem& p, const PackedHead& keys, int head, int begin, int end, std::vector<float>& map) {
  const int kv_len = p.shape.kv_len;
  const std::size_t stride = round_up(kv_len, kPanelKeys);
  map.resize(kTaskRows * stride);
  std::vector<float> queries;
  pack_queries(p, head, begin, end, p.scale * std::numbers::log2e_v<float>, queries);
  ScoreTask task;
  task.q = queries.data();
  task.rows = end - begin;
  task.dim = p.shape.head_dim;
  task.kv = &keys;
  task.limits.first_position = p.shape.offset() + begin;
  task.limits.kv_len = kv_len;
  softmax_tile(task, kv_len, map.data(), stride);
  LineSums sums = {std::vector<float>(kv_len), std::vector<float>(kv_len)};
  for (int r = 0; r < task.rows; ++r) {
    const float* const row = &map[r * stride];
    const int own = task.limits.first_position + r;
    for (int key = 0; key <= own; ++key) sums.column[key] += row[key];
    for (int offset = 0; offset <= own; ++offset) sums.offset[offset] += row[own - offset];
  }
  return sums;
}

}  // namespace

std::vector<LineSums> line_sums(const HostProblem& p, int rows) {
  const int first = std::max(0, p.shape.q_len - rows);
  const int tasks = round_up(p.shape.q_len - first, kTaskRows) / kTaskRows;  // of a head
  const std::vector<PackedHead> packed = pack_heads(p, false);
  std::vector<LineSums> parts(std::size_t(p.shape.q_heads) * tasks);
#pragma omp parallel
  {
    std::vector<float> map;
#pragma omp for collapse(2) schedule(dynamic)
    for (int head = 0; head < p.shape.q_heads; ++head) {
      for (int task = 0; task < tasks; ++task) {
        const int begin = first + task * kTaskRows, end = std::min(p.shape.q_len, begin + kTaskRows);
        parts[std::size_t(head) * tasks + task] = sum_rows(p, packed[p.shape.kv_head_of(head)], head, begin, end, map);
      }
    }
  }
  // Added in the order of rows, whichever thread made them, so that the sums are always the same.
  std::vector<LineSums> sums;
  for (int head = 0; head < p.shape.q_heads; ++head) {
    sums.push_back(std::move(parts[std::size_t(head) * tasks]));
    for (int task = 1; task < tasks; ++task) {
      const LineSums& part = parts[std::size_t(head) * tasks + task];
      for (int i = 0; i < p.shape.kv_len; ++i) {
        sums.back().column[i] += part.column[i];
        sums.back().offset[i] += part.offset[i];
      }
    }
  }
  return sums;
}

}  // namespace salebench::cpu
