#include "harness/show/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <optional>

#include "core/json_text.h"
#include "core/reference.h"
#include "datasets/dataset.h"
#include "harness/plan/open_capture.h"
#include "harness/plan/output_check.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/block_scores.h"

namespace salebench {
namespace {

constexpr std::array<double, 3> kRecalls = {0.90, 0.95, 0.99};

/// Smallest share of the causal tiles of a query block, heaviest first, whose mass reaches each recall.
std::array<double, 3> tiles_needed(std::vector<float> mass) {
  std::ranges::sort(mass, std::greater());
  std::array<double, 3> shares{};
  for (std::size_t i = 0; i < kRecalls.size(); ++i) {
    double sum = 0;
    std::size_t tiles = 0;
    while (tiles < mass.size() && sum < kRecalls[i]) sum += mass[tiles++];
    shares[i] = double(tiles) / double(mass.size());
  }
  return shares;
}

/// Oracle densities of each head.
std::vector<std::array<double, 3>> oracle_densities(const HostProblem& p, BlockSize block) {
  const BlockGrid grid{block, p.shape.q_len, p.shape.kv_len, p.causal, {}, p.sliding_window};
  AttentionResult exact(p.shape);
  cpu::dense_attention(p, {{}, exact.lse});
  const std::vector<float> mass = cpu::block_mass(p, exact.lse, grid);
  std::vector<std::array<double, 3>> densities(p.shape.q_heads);
  for (int head = 0; head < p.shape.q_heads; ++head) {
    for (int qb = 0; qb < grid.q_blocks(); ++qb) {
      const float* row = &mass[(std::size_t(head) * grid.q_blocks() + qb) * grid.k_blocks()];
      const auto shares = tiles_needed({row + grid.visible_begin(qb), row + grid.causal_end(qb)});
      for (std::size_t i = 0; i < shares.size(); ++i) densities[head][i] += shares[i] / grid.q_blocks();
    }
  }
  return densities;
}

/// Mean Euclidean norm of the rows of x [rows, dim].
double mean_norm(const float* x, int rows, int dim) {
  double sum = 0;
  for (int row = 0; row < rows; ++row)
    sum += std::sqrt(std::inner_product(x + std::size_t(row) * dim, x + std::size_t(row + 1) * dim,
                                        x + std::size_t(row) * dim, 0.0));
  return sum / rows;
}

/// |mean of the rows|^2 / mean of |row|^2: 1 if all rows are equal, 0 if they have no common part.
double mean_share(const float* x, int rows, int dim) {
  std::vector<double> mean(dim);
  double energy = 0;
  for (int row = 0; row < rows; ++row)
    for (int d = 0; d < dim; ++d) {
      const double value = x[std::size_t(row) * dim + d];
      mean[d] += value / rows;
      energy += value * value / rows;
    }
  return energy > 0 ? std::inner_product(mean.begin(), mean.end(), mean.begin(), 0.0) / energy : 0;
}

nlohmann::json check_problem(const Dataset& dataset, const ProblemInfo& info, const CheckOptions& options,
                             BlockSize block) {
  if (info.softcap > 0 || info.sinks)
    throw DataError(fmt::format("{}: {}: {}: attention that nothing here computes yet, so it can't be checked",
                                options.path, info.id, attention_text(info)));
  const int length = std::min(options.length, info.shape.kv_len);
  const ProblemTensors whole = dataset.load(info.id);
  const ProblemTensors tensors = apply_view(whole, {length, 1});
  const HostProblem p = tensors.view();
  const auto densities = oracle_densities(p, block);
  const std::optional<OutputCheck> output = check_stored_output(dataset, info, whole);
  nlohmann::json rows = nlohmann::json::array();
  for (int head = 0; head < p.shape.q_heads; ++head) {
    const auto& d = densities[head];
    rows.push_back({{"problem", info.id},
                    {"head", head},
                    {"kv_head", p.shape.kv_head_of(head)},
                    {"q_len", p.shape.q_len},
                    {"kv_len", p.shape.kv_len},
                    {"head_dim", p.shape.head_dim},
                    {"dtype", info.dtype},
                    {"scale", p.scale},
                    {"causal", p.causal},
                    {"q_norm", mean_norm(p.q_head(head), p.shape.q_len, p.shape.head_dim)},
                    {"k_norm", mean_norm(p.k_of(head), p.shape.kv_len, p.shape.head_dim)},
                    {"k_mean_share", mean_share(p.k_of(head), p.shape.kv_len, p.shape.head_dim)},
                    {"density_at_90", d[0]},
                    {"density_at_95", d[1]},
                    {"density_at_99", d[2]}});
    if (!output) continue;
    rows.back()["output_rel_l2"] = output->distance[head];
    rows.back()["output_bound"] = output->bound;
    rows.back()["output_complaint"] = output->complaint();
  }
  return rows;
}

void print_problem(const nlohmann::json& rows, const ProblemInfo& info) {
  const auto& first = rows.front();
  fmt::print("{}: {}/{} heads, {} x {} tokens, head_dim {}, {}, scale {:.6g}, {}\n", info.id, info.shape.q_heads,
             info.shape.kv_heads, first["q_len"].get<int>(), first["kv_len"].get<int>(), info.shape.head_dim,
             info.dtype, info.scale, attention_text(info).empty() ? "causal" : attention_text(info));
  fmt::print("  {:>4}  {:>7}  {:>7}  {:>12}  {:>21}\n", "head", "|q|", "|k|", "K mean share",
             "oracle density at recall");
  fmt::print("  {:>4}  {:>7}  {:>7}  {:>12}  {:>7} {:>7} {:>7}\n", "", "", "", "", "0.90", "0.95", "0.99");
  for (const auto& r : rows)
    fmt::print("  {:>4}  {:>7.2f}  {:>7.2f}  {:>12.3f}  {:>7.4f} {:>7.4f} {:>7.4f}\n", r["head"].get<int>(),
               r["q_norm"].get<double>(), r["k_norm"].get<double>(), r["k_mean_share"].get<double>(),
               r["density_at_90"].get<double>(), r["density_at_95"].get<double>(), r["density_at_99"].get<double>());
  if (first.contains("output_rel_l2")) {
    double worst = 0;
    for (const auto& r : rows) worst = std::max(worst, r["output_rel_l2"].get<double>());
    const double bound = first["output_bound"];
    fmt::print(
        "  attention recomputed in double precision is {} {:.2e} (relative L2) of the model's own; bound {:.1e}\n",
        worst <= bound ? "within" : "NOT within the bound but within", worst, bound);
  }
  std::fflush(stdout);
}

}  // namespace

void check_capture(const CheckOptions& options) {
  const BlockSize block = parse_block(options.block);
  const Dataset dataset = open_capture(options.path);
  nlohmann::json all = nlohmann::json::array();
  std::string unsound;
  for (const ProblemInfo& info : dataset.problems()) {
    try {
      const nlohmann::json rows = check_problem(dataset, info, options, block);
      if (!options.json) print_problem(rows, info);
      all.insert(all.end(), rows.begin(), rows.end());
      if (const std::string complaint = rows.front().value("output_complaint", ""); !complaint.empty())
        throw DataError(fmt::format("{}: {}: {}", options.path, info.id, complaint));
    } catch (const DataError& error) {
      unsound += fmt::format("{}{}", unsound.empty() ? "" : "; ", error.what());
    }
  }
  if (options.json) fmt::print("{}\n", json_text(all, 1));
  if (!unsound.empty()) throw DataError(unsound);
}

}  // namespace salebench
