// Times of the CUDA kernels on random data: bf16, head_dim 128, 32 query and 8 KV heads, causal. Measured as cells are,
// by DeviceTimer, each sample with a flushed L2; the table shows medians.
// Its part "attention" runs the dense kernels that are built in, and ours over random masks, in turn; with pauses the
// card is idle before each run.
#include "kernels/bench/cuda_bench.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>

#include "core/stats.h"
#include "kernels/cuda/check/mask_recall.h"
#include "kernels/cuda/check/metrics.h"
#include "kernels/cuda/dense/dense_kernels.h"
#include "kernels/cuda/device/devices.h"
#include "kernels/cuda/select/mask_builders.h"
#include "kernels/cuda/select/sale.h"
#include "kernels/cuda/select/sale_pooled.h"

namespace salebench::cuda {

StepTimer::StepTimer(bool written) : written_(written ? std::size_t(256) << 20 : 0) {}

std::vector<double> StepTimer::median(const std::vector<std::function<void()>>& steps) {
  constexpr int kWarmUps = 2, kSamples = 11;
  DeviceTimer timer(steps.size(), written_.bytes() == 0);
  const auto before = [this] {
    if (written_.bytes() > 0) fill_bytes(written_.data(), written_.bytes(), 0, nullptr);
  };
  std::vector<std::vector<double>> seconds(steps.size());
  int not_held = 0;
  for (int sample = -kWarmUps; sample < kSamples; ++sample) {
    const DeviceSample s = timer.sample(before, steps, nullptr);
    if (sample < 0) continue;
    not_held += !s.held;
    for (std::size_t i = 0; i < steps.size(); ++i) seconds[i].push_back(s.seconds[i]);
  }
  if (not_held > 0) std::printf("%d of %d samples with launch gaps:\n", not_held, kSamples);
  std::vector<double> medians;
  for (auto& of_step : seconds) medians.push_back(salebench::median(std::move(of_step)));
  return medians;
}

namespace {

/// What the accuracy of one cell costs: exact output and log-sum-exp, the comparison of an output with it, and recall
/// in double precision.
void bench_truth(const Case& c, StepTimer& timer) {
  const Shape& shape = c.p.shape;
  const DeviceBuffer workspace(compare_outputs_bytes(shape));
  const DeviceVector<ErrorSums> errors(shape.q_heads);
  const DeviceVector<double> recall(std::size_t(shape.q_heads) * shape.q_len);
  const CaseMask mask(c, {64, 64});
  causal_mask(mask.view(), nullptr);
  const auto exact = static_cast<const float*>(c.out.output);
  const auto s =
      timer.median({[&] { exact_attention(c.p, c.out, nullptr); },
                    [&] {
                      compare_outputs({shape, c.p.dtype, c.p.q, exact}, workspace.data(), errors.data(), nullptr);
                    },
                    [&] { mask_recall(c.p, mask.view(), recall.data(), nullptr); }});
  std::printf("%7d  truth            1.000             %9.3f  %6.0f\n", shape.kv_len, 1e3 * s[0],
              1e-12 * c.dense_flops / s[0]);
  std::printf("%7d  metrics                            %9.3f\n", shape.kv_len, 1e3 * s[1]);
  std::printf("%7d  recall                             %9.3f  %6.0f\n", shape.kv_len, 1e3 * s[2],
              1e-12 * c.dense_flops / 2 / s[2]);
}

/// Our dense attention, in seconds.
double bench_dense(const Case& c, StepTimer& timer) {
  const DeviceBuffer scratch(attention_scratch_bytes(dense_grid(c.p), c.p.shape.q_heads));
  clear_attention_scratch(dense_grid(c.p), c.p.shape.q_heads, scratch.data(), nullptr);
  const double s = timer.median({[&] { dense_attention(c.p, c.out, scratch.data(), nullptr); }})[0];
  std::printf("%7d  dense attention, head_dim %3d    %9.3f\n", c.p.shape.kv_len, c.p.shape.head_dim, 1e3 * s);
  return s;
}

/// All of SALE's selection, and what part of our dense attention that is.
void bench_sale(const Case& c, BlockSize block, int bits, double dense, StepTimer& timer) {
  const CaseMask mask(c, block);
  const DeviceBuffer workspace(sale_select_bytes(c.p.shape));
  const DeviceVector<float> log_thresholds(std::vector<float>(std::size_t(c.p.shape.q_heads), -0.7f), nullptr);
  const double s = timer.median(
      {[&] { sale_select(c.p, {.bits = bits}, log_thresholds.data(), workspace.data(), mask.view(), nullptr); }})[0];
  std::printf("%7d  select SALE, %3d x %-3d bits %-2d   %9.3f  %5.2f %% of dense\n", c.p.shape.kv_len, block.q, block.k,
              bits, 1e3 * s, 100 * s / dense);
}

/// The same of pooled SALE on Hopper, for a scan of all heads.
void bench_pooled(const Case& c, double dense, StepTimer& timer) {
  const CaseMask mask(c, {128, 32});
  const std::size_t heads = std::size_t(c.p.shape.q_heads);
  for (const auto operands : {PooledScan::Operands::fp8, PooledScan::Operands::fp16})
    for (const auto score : {PooledScan::Score::max, PooledScan::Score::mass})
      for (const auto& [rows, keys] : {std::pair{1, 1}, {2, 2}, {4, 2}, {4, 4}, {8, 4}}) {
        const PooledSelection selection(
            {std::vector(heads, PooledScan{score, operands, rows, 1, keys}), std::vector<float>(heads, -0.7f)}, c.p,
            mask.view().grid);
        const double s = timer.median({[&] { selection.run(mask.view(), nullptr); }})[0];
        std::printf("%7d  select pooled %d x %d, %-4s %-4s     %9.3f  %5.2f %% of dense\n", c.p.shape.kv_len, rows,
                    keys, score == PooledScan::Score::max ? "max" : "mass",
                    operands == PooledScan::Operands::fp8 ? "fp8" : "fp16", 1e3 * s, 100 * s / dense);
      }
}

/// Block top-k: pooled scores, then the best tiles of each row.
void bench_topk(const Case& c, BlockSize block, StepTimer& timer) {
  const CaseMask mask(c, block);
  const BlockGrid& grid = mask.view().grid;
  const DeviceVector<float> scores(std::size_t(c.p.shape.q_heads) * grid.q_blocks() * grid.k_blocks());
  const DeviceBuffer workspace(pooled_scores_bytes(c.p.shape, block));
  const DeviceVector<double> budgets(std::vector<double>(std::size_t(c.p.shape.q_heads), 0.1), nullptr);
  const auto s = timer.median({[&] { pooled_scores(c.p, grid, workspace.data(), scores.data(), nullptr); },
                               [&] {
                                 keep_best(scores.data(), budgets.data(), {1, 1}, mask.view(), nullptr);
                               }});
  std::printf("%7d  select top-k, %3d x %-3d            %9.3f\n", c.p.shape.kv_len, block.q, block.k,
              1e3 * (s[0] + s[1]));
}

BlockSize block_of(const std::string& text) {
  BlockSize block{};
  char rest;
  if (std::sscanf(text.c_str(), "%dx%d%c", &block.q, &block.k, &rest) != 2 || block.q < 1 || block.k < 1)
    throw CLI::ValidationError("--tile", "'" + text + "' is no tile such as 128x32");
  return block;
}

struct Options {
  std::vector<std::string> parts;
  std::vector<int> lengths = {32768, 65536}, head_dims = {128}, pauses = {0};
  AttentionBench attention{.densities = {1.0, 0.2, 0.1, 0.05}};
  bool written = false;

  bool has(const std::string& part) const { return std::ranges::find(parts, part) != parts.end(); }
};

void bench_turns(const Options& o) {
  AttentionBench how = o.attention;
  for (const int head_dim : o.head_dims)
    for (const int length : o.lengths)
      for (const int pause : o.pauses) {
        how.head_dim = head_dim, how.pause_ms = pause;
        bench_attention(length, how);
      }
}

void bench_selections(const Case& c, const Options& o, StepTimer& timer) {
  const double dense = bench_dense(c, timer);
  for (const int bits : {4, 8, 16})
    if (o.has("sale")) bench_sale(c, {64, 32}, bits, dense, timer);
  if (o.has("sale")) bench_sale(c, {128, 32}, 8, dense, timer);
  if (o.has("pooled")) bench_pooled(c, dense, timer);
}

int run(const Options& o) {
  const CudaDevices found = cuda_devices();
  if (!found.why_none.empty()) {
    std::fprintf(stderr, "no benchmark without a GPU: %s\n", found.why_none.c_str());
    return 5;
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // a line is seen once it is known, through a pipe too
  std::printf("%s, driver %d, runtime %d\n", found.devices[0].name.c_str(), found.driver, found.runtime);
  if (o.has("attention")) bench_turns(o);
  StepTimer timer(o.written);
  for (const int length : o.lengths) {
    if (o.has("truth")) bench_truth(Case(length), timer);
    for (const int head_dim : o.head_dims)
      if (o.has("sale") || o.has("pooled")) bench_selections(Case(length, head_dim), o, timer);
    if (o.has("topk")) {
      const Case c(length);
      for (const BlockSize block : {BlockSize{64, 64}, {128, 128}}) bench_topk(c, block, timer);
    }
  }
  return 0;
}

}  // namespace
}  // namespace salebench::cuda

int main(int argc, char** argv) {
  salebench::cuda::Options o;
  std::vector<std::string> operands, tiles = {"64x32", "64x64", "128x32", "128x64", "128x128"};
  CLI::App app("Times of the CUDA kernels on random data: bf16, 32 query and 8 KV heads, causal; medians, cold L2");
  app.option_defaults()->always_capture_default();
  app.add_option("parts", o.parts, "attention, sale, pooled, topk, truth")
      ->required()
      ->check(CLI::IsMember({"attention", "sale", "pooled", "topk", "truth"}));
  app.add_option("--length", o.lengths, "Tokens")->check(CLI::Range(128, 1 << 20));
  app.add_option("--head-dim", o.head_dims, "Of attention, sale and pooled")->check(CLI::IsMember({64, 128}));
  app.add_option("--pause", o.pauses, "Idle milliseconds before each run of attention");
  app.add_option("--dense", o.attention.dense,
                 "Dense kernels to run: ours, cudnn, cudnn_fp8, flashinfer, fa3 (default: all there are)");
  app.add_option("--tile", tiles, "Tiles of the random masks, as 128x32; \"\" for none");
  app.add_option("--density", o.attention.densities, "Densities of the random masks");
  app.add_option("--operands", operands, "Also attend from 8 bits, with and without their rounding")
      ->check(CLI::IsMember({"int8", "fp8"}));
  app.add_flag("--written", o.written,
               "All but attention: L2 is full of changed lines before each sample (l2_flush.h says what that costs)");
  try {
    app.parse(argc, argv);
    std::erase(tiles, "");
    for (const std::string& tile : tiles) o.attention.tiles.push_back(salebench::cuda::block_of(tile));
    for (const std::string& name : operands)
      o.attention.operands.push_back(name == "fp8" ? salebench::cuda::Operands::fp8 : salebench::cuda::Operands::int8);
    return salebench::cuda::run(o);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return dynamic_cast<const std::invalid_argument*>(&error) ? 2 : 1;
  }
}
