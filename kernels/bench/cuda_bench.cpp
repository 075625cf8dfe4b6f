// Times of the CUDA kernels on random data: bf16, head_dim 128, 32 query and 8 KV heads, causal. Measured as cells are,
// by DeviceTimer, each sample with a flushed L2; the table shows medians.
// Usage: salebench_cuda_bench [PART...] [KV_LEN...]      (default: all parts, 32768 65536)
//   dense          the dense kernels in turn, or those that are named too (ours, cudnn, flashinfer, fa3)
//   dense64        the same with head_dim 64
//   burst          dense and dense64 leave the card idle for 40 ms before each run
//   sparse sale topk truth
//   writeflush     all but dense: L2 is full of changed lines before each sample (l2_flush.h says what that costs)
#include "kernels/bench/cuda_bench.h"

#include <cctype>
#include <cstdio>
#include <cstdlib>

#include "core/stats.h"
#include "kernels/cuda/check/mask_recall.h"
#include "kernels/cuda/check/metrics.h"
#include "kernels/cuda/dense/dense_kernels.h"
#include "kernels/cuda/device/devices.h"
#include "kernels/cuda/select/mask_builders.h"
#include "kernels/cuda/select/sale.h"

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

constexpr int kPauseMs = 40;

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

void bench_sparse(const Case& c, BlockSize block, double density, StepTimer& timer) {
  const int heads = c.p.shape.q_heads;
  const CaseMask mask(c, block);
  random_tiles(mask.view(), density);
  const DeviceBuffer workspace(block_index_bytes(mask.view().grid, heads));
  const DeviceVector<MaskCounts> counts(heads);
  count_masks(mask.view(), counts.data(), nullptr);
  MaskCounts all;
  for (const MaskCounts& one : counts.host(nullptr)) all.add(one);
  const double kept = double(all.tokens) / double(all.dense_tokens);
  BlockIndex index;
  const auto s =
      timer.median({[&] { index = build_block_index(mask.view(), c.p.shape.kv_heads, workspace.data(), nullptr); },
                    [&] { block_sparse_attention(c.p, index, c.out, nullptr); }});
  std::printf("%7d  %3d x %-3d  %9.3f  %9.3f  %9.3f  %6.0f\n", c.p.shape.kv_len, block.q, block.k, kept, 1e3 * s[0],
              1e3 * s[1], 1e-12 * c.dense_flops * kept / (s[0] + s[1]));
}

void bench_sale(const Case& c, BlockSize block, int bits, StepTimer& timer) {
  const CaseMask mask(c, block);
  const DeviceBuffer workspace(sale_select_bytes(c.p.shape));
  const DeviceVector<float> log_thresholds(std::vector<float>(std::size_t(c.p.shape.q_heads), -0.7f), nullptr);
  const double s = timer.median(
      {[&] { sale_select(c.p, {.bits = bits}, log_thresholds.data(), workspace.data(), mask.view(), nullptr); }})[0];
  std::printf("%7d  select SALE, %3d x %-3d bits %-2d   %9.3f\n", c.p.shape.kv_len, block.q, block.k, bits, 1e3 * s);
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

void bench_dense(const std::set<std::string>& parts, const std::vector<int>& lengths) {
  DenseBench dense;
  dense.pause_ms = parts.contains("burst") ? kPauseMs : 0;
  for (const DenseKernel* kernel : dense_kernels())
    if (parts.contains(kernel->name())) dense.names.insert(kernel->name());
  for (const auto& [part, head_dim] : {std::pair("dense", 128), std::pair("dense64", 64)}) {
    dense.head_dim = head_dim;
    for (const int length : lengths)
      if (parts.contains(part)) bench_dense_kernels(length, dense);
  }
}

int run(const std::set<std::string>& parts, const std::vector<int>& lengths) {
  const CudaDevices found = cuda_devices();
  if (!found.why_none.empty()) {
    std::fprintf(stderr, "no benchmark without a GPU: %s\n", found.why_none.c_str());
    return 5;
  }
  std::printf("%s, driver %d, runtime %d\n", found.devices[0].name.c_str(), found.driver, found.runtime);
  bench_dense(parts, lengths);
  StepTimer timer(parts.contains("writeflush"));
  std::printf(" length  tile         density   index ms         ms  effective TFLOP/s (with index)\n");
  for (const int length : lengths) {
    const Case c(length);
    if (parts.contains("truth")) bench_truth(c, timer);
    for (const int bits : {4, 8, 16})
      if (parts.contains("sale")) bench_sale(c, {64, 32}, bits, timer);
    if (parts.contains("sale")) bench_sale(c, {128, 32}, 8, timer);
    for (const BlockSize block : {BlockSize{64, 64}, {128, 128}})
      if (parts.contains("topk")) bench_topk(c, block, timer);
    for (const BlockSize block : {BlockSize{64, 32}, {64, 64}, {128, 32}, {128, 64}, {128, 128}})
      for (const double density : {1.0, 0.2, 0.1, 0.05})
        if (parts.contains("sparse")) bench_sparse(c, block, density, timer);
  }
  return 0;
}

}  // namespace
}  // namespace salebench::cuda

int main(int argc, char** argv) {
  std::set<std::string> parts;
  std::vector<int> lengths;
  for (int i = 1; i < argc; ++i) {
    if (std::isdigit(static_cast<unsigned char>(argv[i][0])))
      lengths.push_back(std::atoi(argv[i]));
    else
      parts.insert(argv[i]);
  }
  if (parts.empty()) parts = {"dense", "dense64", "sparse", "sale", "topk", "truth"};
  if (lengths.empty()) lengths = {32768, 65536};
  return salebench::cuda::run(parts, lengths);
}
