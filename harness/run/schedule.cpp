#include "harness/run/schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <numeric>

#include "harness/plan/backends.h"
#include "results/places.h"

namespace salebench {
namespace {

constexpr int kMostShards = 100000;
/// A few cores; only how cells compare with each other matters.
constexpr double kAssumedFlops = 1e11;

int number_in(const std::string& text, const std::string& whole) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 1 || value > kMostShards)
    throw UsageError(fmt::format("--shard {} is not a part of a sweep such as 2/3", whole));
  return value;
}

/// What the rounds of a cell agree in.
std::string without_round(const PlannedCell& cell) {
  return fmt::format("{}\n{}\n{}\n{}\n{}\n{}\n{}", cell.method, cell.params, cell.fingerprint, cell.problem->id,
                     cell.length, cell.repeat, cell.backend);
}

double assumed_seconds(const PlannedCell& cell, const Plan& plan) {
  return cell.unsupported.empty() ? estimated_seconds(cell, plan.sweep.measure, plan.quick, kAssumedFlops) : 0;
}

}  // namespace

double estimated_seconds(const PlannedCell& cell, const MeasureConfig& m, bool quick, double cpu_flops) {
  const double flops = backend_called(cell.backend).planned_flops(cpu_flops);
  const double start_up = cell.backend == "cpu" ? 0.15 : 1;
  const Shape shape = cell.shape();
  const double pairs = double(shape.q_len) * (shape.kv_len - shape.q_len / 2.0);
  const double dense = 4.0 * shape.head_dim * shape.q_heads * pairs / flops;
  const double sample = m.baseline == "none" ? dense : 2 * dense;
  if (quick) return start_up + 2 * dense + sample;
  return start_up + 2 * dense + std::max(m.warmup, sample) +
         std::max(m.min_samples * sample, (m.min_time + m.max_time) / 2);
}

Shard Shard::parse(const std::string& text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string::npos) number_in("", text);
  const Shard shard = {number_in(text.substr(0, slash), text), number_in(text.substr(slash + 1), text)};
  if (shard.number > shard.of)
    throw UsageError(fmt::format("--shard {}: there are {} parts, which count from 1", text, shard.of));
  return shard;
}

std::string Shard::text() const {
  return fmt::format("{}/{}", number, of);
}

std::string Shard::folder() const {
  return fmt::format("{}of{}", number, of);
}

void keep_shard(Plan& plan, const Shard& shard) {
  plan.shard = shard.text(), plan.whole = int(plan.cells.size());
  std::map<std::string, std::size_t> group_of;
  std::vector<double> costs;
  for (const PlannedCell& cell : plan.cells) {
    const auto [group, is_new] = group_of.try_emplace(without_round(cell), costs.size());
    if (is_new) costs.push_back(0);
    costs[group->second] += assumed_seconds(cell, plan);
  }
  std::vector<std::size_t> order(costs.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, std::ranges::greater(), [&](std::size_t group) { return costs[group]; });
  std::vector<double> loads(std::size_t(shard.of));
  std::vector<int> shard_of(costs.size());
  for (const std::size_t group : order) {
    const auto least = std::ranges::min_element(loads);
    *least += costs[group];
    shard_of[group] = int(least - loads.begin()) + 1;
  }
  std::erase_if(plan.cells,
                [&](const PlannedCell& cell) { return shard_of[group_of.at(without_round(cell))] != shard.number; });
}

void sort_longest_first(std::vector<const PlannedCell*>& cells, const Plan& plan) {
  std::ranges::stable_sort(
      cells, {}, [&](const PlannedCell* cell) { return std::pair(cell->round, -assumed_seconds(*cell, plan)); });
}

}  // namespace salebench
