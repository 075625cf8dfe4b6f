// Times of the CUDA kernels on random data: bf16, head_dim 128, 32 query and 8 KV heads, causal. Each sample starts
// with a flushed L2 and is timed by CUDA events; the table shows medians.
// Usage: salebench_cuda_bench [PART...] [KV_LEN...]      (default: all parts, 32768 65536)
//   dense          the dense kernels in turn, or those that are named too (ours, cudnn, flashinfer, fa3)
//   dense64        the same with head_dim 64
//   burst          dense and dense64 leave the card idle for 40 ms before each run
//   sparse sale topk truth
//   writeflush     flushes by writing instead of by reading (l2_flush.h says what that costs)
#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "kernels/bench/cuda_bench.cuh"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/dense_kernels.h"
#include "kernels/cuda/devices.h"
#include "kernels/cuda/l2_flush.h"
#include "kernels/cuda/mask_builders.h"
#include "kernels/cuda/mask_recall.h"
#include "kernels/cuda/metrics.h"
#include "kernels/cuda/sale.h"

namespace salebench::cuda {
namespace {

constexpr int kSamples = 11;
constexpr int kPauseMs = 40;

/// Values with mean 0 and variance 1, near enough to normal: the sum of four uniform ones.
__global__ void fill_kernel(__nv_bfloat16* values, std::size_t count, std::uint64_t seed) {
  for (std::size_t i = blockIdx.x * std::size_t(blockDim.x) + threadIdx.x; i < count;
       i += gridDim.x * std::size_t(blockDim.x)) {
    float sum = -2;
    for (int part = 0; part < 4; ++part) sum += float(hash(seed + 4 * i + part)) * 0x1p-32f;
    values[i] = __float2bfloat16(sum * 1.7320508f);
  }
}

/// Random tiles with the given probability, and those on the diagonal.
__global__ void mask_kernel(MaskView mask, int heads, int q_blocks, int words, int block_q, int block_k,
                            double density) {
  const int word = blockIdx.x * blockDim.x + threadIdx.x, q_block = blockIdx.y, head = blockIdx.z;
  if (word >= words) return;
  const int diagonal = q_block * block_q / block_k, end = ((q_block + 1) * block_q + block_k - 1) / block_k;
  std::uint32_t bits = 0;
  for (int b = 0; b < 32; ++b) {
    const int kb = 32 * word + b;
    const std::uint64_t at = (std::uint64_t(head) * q_blocks + q_block) * (words * 32) + kb;
    if (kb < end && (kb >= diagonal || hash(at) * 0x1p-32 < density)) bits |= 1u << b;
  }
  mask.bits[(std::size_t(head) * q_blocks + q_block) * words + word] = bits;
}

/// Milliseconds of consecutive steps: medians over samples, each with a cold L2.
class Timer {
 public:
  char* flush() const { return flush_; }
  /// `written` flushes by writing, as a warm cache of changed lines would be; otherwise as cells are timed.
  explicit Timer(bool written) : flush_(allocate<char>(kFlushBytes)), written_(written), word_(allocate<unsigned>(1)) {
    SALEBENCH_CUDA_CHECK(cudaMemset(flush_, 0, kFlushBytes));
    for (auto& event : events_) SALEBENCH_CUDA_CHECK(cudaEventCreate(&event));
  }
  std::vector<double> median(const std::vector<std::function<void()>>& steps) {
    std::vector<std::vector<float>> times(steps.size());
    for (int sample = -2; sample < kSamples; ++sample) {  // two to warm up
      if (written_)
        SALEBENCH_CUDA_CHECK(cudaMemsetAsync(flush_, 0, kFlushBytes));
      else
        flush_l2_by_reading(flush_, kFlushBytes, word_, nullptr);
      for (std::size_t i = 0; i < steps.size(); ++i) {
        SALEBENCH_CUDA_CHECK(cudaEventRecord(events_[i]));
        steps[i]();
      }
      SALEBENCH_CUDA_CHECK(cudaEventRecord(events_[steps.size()]));
      SALEBENCH_CUDA_CHECK(cudaDeviceSynchronize());
      for (std::size_t i = 0; i < steps.size() && sample >= 0; ++i) {
        float ms = 0;
        SALEBENCH_CUDA_CHECK(cudaEventElapsedTime(&ms, events_[i], events_[i + 1]));
        times[i].push_back(ms);
      }
    }
    std::vector<double> medians;
    for (auto& t : times) {
      std::nth_element(t.begin(), t.begin() + kSamples / 2, t.end());
      medians.push_back(t[kSamples / 2]);
    }
    return medians;
  }

 private:
  char* flush_;
  bool written_;
  unsigned* word_;
  cudaEvent_t events_[8];
};

/// What the accuracy of one cell costs: exact output and log-sum-exp, the comparison of an output with it, and recall
/// in double precision.
void bench_truth(const Case& c, Timer& timer) {
  const Shape& shape = c.p.shape;
  char* const workspace = allocate<char>(compare_outputs_bytes(shape));
  auto* const errors = allocate<ErrorSums>(shape.q_heads);
  auto* const recall = allocate<double>(std::size_t(shape.q_heads) * shape.q_len);
  const BlockGrid grid{{64, 64}, shape.q_len, shape.kv_len, true, std::nullopt};
  const MaskView mask{grid, shape.q_heads,
                      allocate<std::uint32_t>(std::size_t(shape.q_heads) * grid.q_blocks() * grid.words())};
  causal_mask(mask, nullptr);
  const auto ms = timer.median({[&] { exact_attention(c.p, c.out, nullptr); },
                                [&] {
                                  compare_outputs({shape, c.p.dtype, c.p.q, static_cast<const float*>(c.out.output)},
                                                  workspace, errors, nullptr);
                                },
                                [&] { mask_recall(c.p, mask, recall, nullptr); }});
  std::printf("%7d  truth            1.000             %9.3f  %6.0f\n", shape.kv_len, ms[0],
              c.dense_flops / ms[0] * 1e-9);
  std::printf("%7d  metrics                            %9.3f\n", shape.kv_len, ms[1]);
  std::printf("%7d  recall                             %9.3f  %6.0f\n", shape.kv_len, ms[2],
              c.dense_flops / 2 / ms[2] * 1e-9);
  cudaFree(workspace);
  cudaFree(mask.bits);
  cudaFree(recall);
  cudaFree(errors);
}

void bench_sparse(const Case& c, BlockSize block, double density, Timer& timer) {
  const int length = c.p.shape.kv_len, heads = c.p.shape.q_heads;
  const BlockGrid grid{block, length, length, true, std::nullopt};
  const MaskView mask{grid, heads, allocate<std::uint32_t>(std::size_t(heads) * grid.q_blocks() * grid.words())};
  mask_kernel<<<dim3(ceil_div(grid.words(), 32), grid.q_blocks(), heads), 32>>>(
      mask, heads, grid.q_blocks(), grid.words(), block.q, block.k, density);
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
  char* const workspace = allocate<char>(block_index_bytes(grid, heads));
  auto* const device_counts = allocate<MaskCounts>(heads);
  count_masks(mask, device_counts, nullptr);
  std::vector<MaskCounts> counts(heads);
  SALEBENCH_CUDA_CHECK(cudaMemcpy(counts.data(), device_counts, heads * sizeof(MaskCounts), cudaMemcpyDeviceToHost));
  MaskCounts all;
  for (const MaskCounts& one : counts) all.add(one);
  const double kept = double(all.tokens) / double(all.dense_tokens);
  BlockIndex index;
  const auto ms = timer.median({[&] { index = build_block_index(mask, c.p.shape.kv_heads, workspace, nullptr); },
                                [&] { block_sparse_attention(c.p, index, c.out, nullptr); }});
  std::printf("%7d  %3d x %-3d  %9.3f  %9.3f  %9.3f  %6.0f\n", length, block.q, block.k, kept, ms[0], ms[1],
              c.dense_flops * kept / (ms[0] + ms[1]) * 1e-9);
  cudaFree(mask.bits);
  cudaFree(workspace);
  cudaFree(device_counts);
}

void bench_sale(const Case& c, BlockSize block, int bits, Timer& timer) {
  const int length = c.p.shape.kv_len, heads = c.p.shape.q_heads;
  const BlockGrid grid{block, length, length, true, std::nullopt};
  const MaskView mask{grid, heads, allocate<std::uint32_t>(std::size_t(heads) * grid.q_blocks() * grid.words())};
  char* const workspace = allocate<char>(sale_select_bytes(c.p.shape));
  float* const log_thresholds = allocate<float>(heads);
  const std::vector<float> values(heads, -0.7f);
  SALEBENCH_CUDA_CHECK(cudaMemcpy(log_thresholds, values.data(), heads * sizeof(float), cudaMemcpyHostToDevice));
  const double ms =
      timer.median({[&] { sale_select(c.p, {.bits = bits}, log_thresholds, workspace, mask, nullptr); }})[0];
  std::printf("%7d  select SALE, %3d x %-3d bits %-2d   %9.3f\n", length, block.q, block.k, bits, ms);
  cudaFree(mask.bits);
  cudaFree(workspace);
  cudaFree(log_thresholds);
}

/// Block top-k: pooled scores, then the best tiles of each row.
void bench_topk(const Case& c, BlockSize block, Timer& timer) {
  const int length = c.p.shape.kv_len, heads = c.p.shape.q_heads;
  const BlockGrid grid{block, length, length, true, std::nullopt};
  const MaskView mask{grid, heads, allocate<std::uint32_t>(std::size_t(heads) * grid.q_blocks() * grid.words())};
  auto* const scores = allocate<float>(std::size_t(heads) * grid.q_blocks() * grid.k_blocks());
  char* const workspace = allocate<char>(pooled_scores_bytes(c.p.shape, block));
  double* const budgets = allocate<double>(heads);
  const std::vector<double> values(heads, 0.1);
  SALEBENCH_CUDA_CHECK(cudaMemcpy(budgets, values.data(), heads * sizeof(double), cudaMemcpyHostToDevice));
  const auto ms = timer.median({[&] { pooled_scores(c.p, grid, workspace, scores, nullptr); },
                                [&] {
                                  keep_best(scores, budgets, {1, 1}, mask, nullptr);
                                }});
  std::printf("%7d  select top-k, %3d x %-3d            %9.3f\n", length, block.q, block.k, ms[0] + ms[1]);
  cudaFree(mask.bits);
  cudaFree(scores);
  cudaFree(workspace);
  cudaFree(budgets);
}

void bench_dense(const std::set<std::string>& parts, const std::vector<int>& lengths, const Timer& timer) {
  DenseBench dense{.pause_ms = parts.contains("burst") ? kPauseMs : 0};
  for (const DenseKernel* kernel : dense_kernels())
    if (parts.contains(kernel->name())) dense.names.insert(kernel->name());
  for (const auto& [part, head_dim] : {std::pair("dense", 128), std::pair("dense64", 64)}) {
    dense.head_dim = head_dim;
    for (const int length : lengths)
      if (parts.contains(part)) bench_dense_kernels(length, dense, timer.flush());
  }
}

int run(const std::set<std::string>& parts, const std::vector<int>& lengths) {
  const CudaDevices found = cuda_devices();
  if (found.devices.empty()) {
    std::fprintf(stderr, "no benchmark without a GPU: %s\n", found.why_none.c_str());
    return 5;
  }
  std::printf("%s, driver %d, runtime %d\n", found.devices[0].name.c_str(), found.driver, found.runtime);
  Timer timer(parts.contains("writeflush"));
  bench_dense(parts, lengths, timer);
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

void fill_normal(__nv_bfloat16* values, std::size_t count, std::uint64_t seed) {
  fill_kernel<<<1024, 256>>>(values, count, seed);
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
}

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
