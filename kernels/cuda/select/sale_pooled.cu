#include "kernels/cuda/select/sale_pooled.h"

#include <algorithm>
#include <cmath>

#include "kernels/cuda/device/device_memory.h"
#include "kernels/cuda/select/channel_stats.h"
#include "kernels/cuda/select/pooled.cuh"

namespace salebench::cuda {
namespace {

/// Sink and local blocks of a row of the mask, or all that the row sees where the head is dense.
__global__ void keep_always_kernel(DeviceGrid grid, int local_blocks, bool all_dense, const float* log2_thresholds,
                                   std::uint32_t* bits) {
  const int q_block = blockIdx.x, head = blockIdx.y, begin = middle_begin(grid, q_block);
  const bool dense = all_dense || log2_thresholds[head] == -INFINITY;
  write_row(bits + (std::size_t(head) * grid.q_blocks + q_block) * grid.words, grid.words, grid.visible_begin(q_block),
            begin, dense ? begin : middle_end(grid, q_block, local_blocks), grid.causal_end(q_block));
}

}  // namespace

struct PooledSelection::Parts {
  /// A scan and its heads in device memory.
  struct Run {
    PooledWork work;
    DeviceVector<int> of_kv_head, counts;
  };

  DeviceProblem problem;
  bool all_dense;
  int local_blocks;
  DeviceVector<float> log2_thresholds;
  std::vector<Run> runs;
  DeviceBuffer memory;
  PooledBuffers buffers{};
};

namespace {

/// Query heads by KV head, of those that have the scan.
std::vector<std::vector<int>> heads_with(const PooledScan& scan, const SalePooledSide& side, const Shape& shape) {
  std::vector<std::vector<int>> heads(shape.kv_heads);
  for (int head = 0; head < shape.q_heads; ++head)
    if (side.scans[head] == scan && !std::isinf(side.log_thresholds[head]))
      heads[shape.kv_head_of(head)].push_back(head);
  return heads;
}

PooledWork make_work(const PooledScan& scan, const SalePooledSide& side, const Shape& shape, const BlockGrid& grid,
                     int most) {
  PooledWork work{scan, DeviceGrid(grid), side.local_blocks, {most, nullptr, nullptr}, 0, 0, 0};
  work.group_rows = grid.block.q / scan.row_pool / scan.row_stride;
  work.stack_rows = ceil_div(grid.q_blocks() * most * work.group_rows, kStackRows) * kStackRows;
  work.keys = ceil_div(shape.kv_len, scan.key_pool);
  return work;
}

PooledBuffers lay_out(const Shape& s, std::size_t keys, std::size_t rows, std::size_t code_bytes, WorkspaceCursor& w) {
  PooledBuffers b{};
  b.stats = w.take<char>(channel_stats_bytes(s.kv_heads, s.kv_len, s.head_dim));
  b.k_mean = w.take<float>(std::size_t(s.kv_heads) * s.head_dim);
  b.k_deviation = w.take<float>(s.kv_heads);
  b.k = w.take<char>(s.kv_heads * keys * s.head_dim * code_bytes);
  b.q = w.take<char>(s.kv_heads * rows * s.head_dim * code_bytes);
  b.rows = w.take<RowScore>(s.kv_heads * rows);
  return b;
}

}  // namespace

PooledSelection::PooledSelection(const SalePooledSide& side, const DeviceProblem& problem, const BlockGrid& grid)
    : parts_(std::make_unique<Parts>()) {
  const Shape& s = problem.shape;
  require(why_unsupported(s, problem.scale));
  require(problem.causal ? nullptr : "sale_pooled is defined for causal attention only");
  require(why_unsupported(grid.block));
  parts_->problem = problem, parts_->all_dense = side.all_dense, parts_->local_blocks = side.local_blocks;
  std::vector<float> log2_thresholds;
  for (const float natural : side.log_thresholds) log2_thresholds.push_back(natural * 1.4426950409f);
  parts_->log2_thresholds = DeviceVector<float>(log2_thresholds, nullptr);
  std::size_t keys = 0, rows = 0, code_bytes = 1;
  std::vector<PooledScan> scans = side.scans;
  std::ranges::sort(scans);
  scans.erase(std::ranges::unique(scans).begin(), scans.end());
  for (const PooledScan& scan : scans) {
    require(why_unsupported(scan, grid.block));
    const std::vector<std::vector<int>> heads = heads_with(scan, side, s);
    std::size_t most = 0;
    for (const std::vector<int>& of_kv_head : heads) most = std::max(most, of_kv_head.size());
    if (most == 0 || side.all_dense) continue;
    std::vector<int> padded(s.kv_heads * most), counts;
    for (int kv_head = 0; kv_head < s.kv_heads; ++kv_head) {
      std::ranges::copy(heads[kv_head], padded.begin() + std::ptrdiff_t(kv_head * most));
      counts.push_back(int(heads[kv_head].size()));
    }
    Parts::Run run{make_work(scan, side, s, grid, int(most)), {padded, nullptr}, {counts, nullptr}};
    run.work.heads.of_kv_head = run.of_kv_head.data(), run.work.heads.counts = run.counts.data();
    keys = std::max(keys, std::size_t(run.work.keys)), rows = std::max(rows, std::size_t(run.work.stack_rows));
    if (scan.operands == PooledScan::Operands::fp16) code_bytes = 2;
    parts_->runs.push_back(std::move(run));
  }
  WorkspaceCursor size(nullptr);
  lay_out(s, keys, rows, code_bytes, size);
  parts_->memory = DeviceBuffer(size.used());
  WorkspaceCursor cursor(parts_->memory.data());
  parts_->buffers = lay_out(s, keys, rows, code_bytes, cursor);
  parts_->buffers.log2_thresholds = parts_->log2_thresholds.data();
}

PooledSelection::~PooledSelection() = default;

void PooledSelection::run(MaskView mask, Stream stream) const {
  const DeviceProblem& p = parts_->problem;
  const PooledBuffers& b = parts_->buffers;
  keep_always_kernel<<<dim3(mask.grid.q_blocks(), mask.heads), 64, 0, stream>>>(
      DeviceGrid(mask.grid), parts_->local_blocks, parts_->all_dense, b.log2_thresholds, mask.bits);
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
  if (parts_->runs.empty()) return;
  channel_stats(p.k, p.dtype, p.shape.kv_heads, p.shape.kv_len, p.shape.head_dim, b.stats, b.k_mean, b.k_deviation,
                stream);
  for (const Parts::Run& run : parts_->runs) {
    pool_keys(p, run.work, b, stream);
    pool_queries(p, run.work, b, stream);
    scan_pooled(p, run.work, b, mask, stream);
  }
}

}  // namespace salebench::cuda
