// Google Benchmark cases of single CPU kernels: 4 query heads on 1 KV head, head_dim 64 unless stated, causal, random
// values of bfloat16 unless stated. FLOP/s counts 2 per multiply-add on causal pairs, or on the pairs of kept tiles;
// the peaks to hold it against are those of peak_probes.cpp. Arguments: length [, head_dim or density %].
#include <benchmark/benchmark.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <random>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/block_scores.h"
#include "kernels/cpu/key_smoothing.h"
#include "kernels/cpu/pooling.h"
#include "kernels/cpu/sale_scan.h"

namespace salebench {
namespace {

float to_bfloat16(float x) {
  return std::bit_cast<float>((std::bit_cast<std::uint32_t>(x) + 0x8000u) & 0xffff0000u);
}

ProblemTensors random_problem(int length, int dim = 64, bool bfloat16 = true) {
  ProblemTensors p;
  p.shape = {4, 1, length, length, dim};
  p.scale = 1 / std::sqrt(float(dim));
  std::mt19937_64 random(1);
  std::normal_distribution<float> normal;
  p.q.resize(std::size_t(4) * length * dim);
  p.k.resize(std::size_t(length) * dim);
  p.v.resize(p.k.size());
  for (auto* values : {&p.q, &p.k, &p.v})
    for (float& x : *values) x = bfloat16 ? to_bfloat16(normal(random)) : normal(random);
  return p;
}

double causal_pairs(const Shape& s) {
  return double(s.q_heads) * s.q_len * (s.q_len + 1) / 2;
}

void count_flops(benchmark::State& state, double flops) {
  state.counters["FLOP/s"] = benchmark::Counter(flops, benchmark::Counter::kIsIterationInvariantRate);
}

void dense_attention(benchmark::State& state, bool bfloat16) {
  const ProblemTensors p = random_problem(int(state.range(0)), int(state.range(1)), bfloat16);
  AttentionResult out(p.shape);
  for (auto _ : state) cpu::dense_attention(p.view(), out.view());
  count_flops(state, 4.0 * p.shape.head_dim * causal_pairs(p.shape));
}

/// Random tiles at the density in percent, the diagonal kept.
BlockMask random_mask(const Shape& s, BlockSize block, int percent) {
  BlockMask mask({block, s.q_len, s.kv_len, true, {}}, s.q_heads);
  std::mt19937 random(2);
  const BlockGrid grid = mask.view().grid;
  for (int head = 0; head < s.q_heads; ++head)
    for (int qb = 0; qb < grid.q_blocks(); ++qb)
      for (int kb = 0; kb < grid.causal_end(qb); ++kb)
        if (kb >= grid.diagonal_begin(qb) || int(random() % 100) < percent) mask.view().keep(head, qb, kb);
  return mask;
}

void block_sparse_attention(benchmark::State& state, BlockSize block) {
  const ProblemTensors p = random_problem(int(state.range(0)));
  const BlockMask mask = random_mask(p.shape, block, int(state.range(1)));
  AttentionResult out(p.shape);
  for (auto _ : state) cpu::block_sparse_attention(p.view(), mask.view(), out.view());
  double pairs = 0;
  for (int head = 0; head < p.shape.q_heads; ++head) pairs += double(count_mask(mask.view(), head).executed_tokens);
  count_flops(state, 4 * 64 * pairs);
}

void sale_quantize(benchmark::State& state) {
  const ProblemTensors p = random_problem(int(state.range(0)));
  cpu::SaleCodes codes;
  for (auto _ : state) cpu::quantize(p.view(), 7, true, cpu::ScaleGroups::thread, codes);
}

void sale_smooth_keys(benchmark::State& state) {
  const ProblemTensors p = random_problem(int(state.range(0)));
  std::vector<float> keys;
  for (auto _ : state) cpu::smooth_keys(p.view(), cpu::key_means(p.view()), keys);
}

/// The log-sum-exp over the first and the last 5 or 6 key blocks of each query block.
void sale_reference(benchmark::State& state) {
  const ProblemTensors p = random_problem(int(state.range(0)));
  BlockMask mask = random_mask(p.shape, {64, 32}, 0);
  for (int head = 0; head < p.shape.q_heads; ++head)
    for (int qb = 0; qb < mask.view().grid.q_blocks(); ++qb) {
      mask.view().keep(head, qb, 0);
      mask.view().keep_range(head, qb, std::max(0, mask.view().grid.diagonal_begin(qb) - 4),
                             mask.view().grid.diagonal_begin(qb));
    }
  const std::vector<float> means = cpu::key_means(p.view());
  std::vector<float> lse(std::size_t(p.shape.q_heads) * p.shape.q_len);
  for (auto _ : state) {
    cpu::block_sparse_attention(p.view(), mask.view(), {{}, lse});
    cpu::shift_lse(p.view(), means, -1, lse);
  }
}

enum class ScanCase { int4, exact, int4_keeping };

/// Scans everything before the diagonal: against a threshold that no entry reaches, or one that about 10 % of the tiles
/// reach, so that bounds, exact rule and marks are at work too.
template <ScanCase kCase>
void sale_scan(benchmark::State& state) {
  const ProblemTensors p = random_problem(int(state.range(0)));
  BlockMask mask({{64, 32}, p.shape.q_len, p.shape.kv_len, true, {}}, p.shape.q_heads);
  std::vector<cpu::ScanRange> ranges;
  double pairs = 0;
  for (int qb = 0; qb < mask.view().grid.q_blocks(); ++qb) {
    ranges.push_back({0, mask.view().grid.diagonal_begin(qb)});
    pairs += 64.0 * 32 * ranges.back().end * p.shape.q_heads;
  }
  std::vector<float> thresholds(std::size_t(p.shape.q_heads) * p.shape.q_len, 1e6f);
  for (std::size_t row = 0; kCase == ScanCase::int4_keeping && row < thresholds.size(); ++row) {
    const float* const q = &p.q[row * 64];  // K is normal, so q . k has the deviation |q|
    thresholds[row] = 3.9f * std::sqrt(std::inner_product(q, q + 64, q, 0.0f));
  }
  cpu::SaleCodes codes;
  cpu::quantize(p.view(), 7, true, cpu::ScaleGroups::thread, codes);
  for (auto _ : state) {
    mask.clear();
    if (kCase == ScanCase::exact)
      cpu::scan_exact(p.view(), ranges, thresholds, mask.view());
    else
      cpu::scan_codes(p.shape, codes, ranges, thresholds, mask.view());
  }
  std::int64_t kept = 0, tiles = 0;
  for (int head = 0; head < p.shape.q_heads; ++head) kept += count_mask(mask.view(), head).tiles;
  for (const cpu::ScanRange& range : ranges) tiles += std::int64_t(range.end) * p.shape.q_heads;
  state.counters["kept"] = double(kept) / double(tiles);
  count_flops(state, 2 * 64 * pairs);
}

void block_mass(benchmark::State& state) {
  const ProblemTensors p = random_problem(int(state.range(0)));
  AttentionResult exact(p.shape);
  cpu::dense_attention(p.view(), exact.view());
  const BlockGrid grid{{64, 64}, p.shape.q_len, p.shape.kv_len, true, {}};
  for (auto _ : state) benchmark::DoNotOptimize(cpu::block_mass(p.view(), exact.lse, grid));
  count_flops(state, 2 * 64 * causal_pairs(p.shape));
}

void mean_pool(benchmark::State& state) {
  const ProblemTensors p = random_problem(int(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(cpu::mean_pool(p.q.data(), 4 * p.shape.q_len, 64, 64));
  state.SetBytesProcessed(std::int64_t(state.iterations()) * std::int64_t(p.q.size() * sizeof(float)));
}

const std::vector<std::int64_t> kLengths = {2048, 4096, 8192, 16384, 32768};
const std::vector<std::int64_t> kDims = {64, 128};
const std::vector<std::int64_t> kDensities = {10, 100};

BENCHMARK_CAPTURE(dense_attention, bf16, true)
    ->ArgsProduct({kLengths, kDims})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(dense_attention, f32, false)
    ->ArgsProduct({kLengths, kDims})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(block_sparse_attention, 64x32, BlockSize{64, 32})
    ->ArgsProduct({kLengths, kDensities})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(block_sparse_attention, 64x64, BlockSize{64, 64})
    ->ArgsProduct({kLengths, kDensities})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK(sale_quantize)->ArgsProduct({kLengths})->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(sale_smooth_keys)->ArgsProduct({kLengths})->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(sale_reference)->ArgsProduct({kLengths})->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(sale_scan<ScanCase::int4>)
    ->Name("sale_scan_int4")
    ->ArgsProduct({kLengths})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK(sale_scan<ScanCase::int4_keeping>)
    ->Name("sale_scan_int4_keeping")
    ->ArgsProduct({kLengths})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK(sale_scan<ScanCase::exact>)
    ->Name("sale_scan_exact")
    ->ArgsProduct({kLengths})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK(block_mass)->ArgsProduct({kLengths})->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(mean_pool)->ArgsProduct({kLengths})->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace salebench
