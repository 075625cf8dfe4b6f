#include "kernels/cuda/select/sale_pooled.h"

#include <algorithm>
#include <cmath>

#include "kernels/cuda/attention/channel_stats.h"
#include "kernels/cuda/device/device_memory.h"
#include "kernels/cuda/hopper/hopper_here.h"
#include "kernels/cuda/select/pooled.cuh"

namespace salebench::cuda {
namespace {

constexpr int kMaskRows = 8;  // of a CTA, a warp each

/// Sink and local blocks of a row of the mask, or all that the row sees where the head is dense.
__global__ void __launch_bounds__(32 * kMaskRows)
    keep_always_kernel(DeviceGrid grid, int local_blocks, bool all_dense, const float* log2_thresholds,
                       std::uint32_t* bits) {
  const int q_block = blockIdx.x * kMaskRows + threadIdx.y, head = blockIdx.y;
  if (q_block >= grid.q_blocks) return;
  const int begin = middle_begin(grid, q_block);
  const bool dense = all_dense || log2_thresholds[head] == -INFINITY;
  write_row(bits + (std::size_t(head) * grid.q_blocks + q_block) * grid.words, grid.words, grid.visible_begin(q_block),
            begin, dense ? begin : middle_end(grid, q_block, local_blocks), grid.causal_end(q_block));
}

}  // namespace

struct PooledSelection::Parts {
  DeviceProblem problem;
  int local_blocks;
  bool all_dense;
  std::vector<PooledWork> works;
  PooledInputs in{};
  DeviceBuffer memory;
};

namespace {

/// Query heads by KV head.
using HeadLists = std::vector<std::vector<int>>;

/// Those that have the scan and are not dense.
HeadLists heads_with(const SalePooledSide& side, const Shape& shape, const PooledScan& scan) {
  HeadLists heads(shape.kv_heads);
  for (int head = 0; head < shape.q_heads && !side.all_dense; ++head)
    if (!std::isinf(side.log_thresholds[head]) && side.scans[head] == scan)
      heads[shape.kv_head_of(head)].push_back(head);
  return heads;
}

int most_of(const HeadLists& heads) {
  std::size_t most = 0;
  for (const std::vector<int>& of_kv_head : heads) most = std::max(most, of_kv_head.size());
  return int(most);
}

/// Takes device memory, in the same order each time; with a null base only the sizes count, and nothing is uploaded.
class Layout {
 public:
  explicit Layout(void* base) : cursor_(base), uploads_(base != nullptr) {}

  template <class T>
  T* take(std::size_t count) {
    return cursor_.take<T>(count);
  }
  template <class T>
  T* upload(const std::vector<T>& values) {
    T* const at = take<T>(values.size());
    if (uploads_) copy_to_device(at, values.data(), values.size() * sizeof(T), nullptr);
    return at;
  }
  StackedHeads upload(const HeadLists& heads) {
    const int most = most_of(heads);
    std::vector<int> padded(heads.size() * most), counts;
    for (std::size_t i = 0; i < heads.size(); ++i) {
      std::ranges::copy(heads[i], padded.begin() + std::ptrdiff_t(i) * most);
      counts.push_back(int(heads[i].size()));
    }
    return {most, upload(padded), upload(counts)};
  }
  std::size_t used() const { return cursor_.used(); }

 private:
  WorkspaceCursor cursor_;
  bool uploads_;
};

PooledWork make_work(const PooledScan& scan, const SalePooledSide& side, const Shape& s, const BlockGrid& grid,
                     const HeadLists& heads, const std::vector<PooledWork>& before, Layout& layout) {
  PooledWork work{scan, DeviceGrid(grid), side.local_blocks, layout.upload(heads)};
  const std::size_t row_bytes = s.head_dim * (scan.operands == PooledScan::Operands::fp8 ? 1 : 2);
  work.group_rows = grid.block.q / scan.row_pool / scan.row_stride;
  work.stack_rows = ceil_div(grid.q_blocks() * work.heads.most * work.group_rows, kStackRows) * kStackRows;
  work.keys = ceil_div(s.kv_len, scan.key_pool);
  for (const PooledWork& other : before)
    if (other.scan.key_pool == scan.key_pool && other.scan.operands == scan.operands)
      work.shares_keys = true, work.k = other.k;
  if (!work.shares_keys) work.k = layout.take<char>(s.kv_heads * work.keys * row_bytes);
  work.q = layout.take<char>(std::size_t(s.kv_heads) * work.stack_rows * row_bytes);
  work.means = layout.take<std::uint16_t>(std::size_t(s.kv_heads) * work.stack_rows * s.head_dim);
  work.rows = layout.take<RowScore>(std::size_t(s.kv_heads) * work.stack_rows);
  return work;
}

void place_heads(const PooledWork& work, const HeadLists& heads, int head_dim, std::vector<HeadRows>& head_rows) {
  const bool fp8 = work.scan.operands == PooledScan::Operands::fp8;
  for (std::size_t kv_head = 0; kv_head < heads.size(); ++kv_head)
    for (std::size_t place = 0; place < heads[kv_head].size(); ++place) {
      const std::size_t rows = kv_head * work.stack_rows;
      head_rows[heads[kv_head][place]] = {work.scan.row_pool,
                                          work.scan.row_stride,
                                          work.group_rows,
                                          int(place),
                                          int(heads[kv_head].size()),
                                          fp8,
                                          static_cast<char*>(work.q) + rows * head_dim * (fp8 ? 1 : 2),
                                          static_cast<char*>(work.means) + rows * head_dim * 2,
                                          work.rows + rows};
    }
}

}  // namespace

PooledSelection::PooledSelection(const SalePooledSide& side, const DeviceProblem& problem, const BlockGrid& grid)
    : parts_(std::make_unique<Parts>()) {
  const Shape& s = problem.shape;
  require(why_no_hopper());
  require(why_unsupported(s, problem.scale));
  require(problem.causal ? nullptr : "sale_pooled is defined for causal attention only");
  require(why_unsupported(grid.block));
  Parts& parts = *parts_;
  parts.problem = problem, parts.local_blocks = side.local_blocks, parts.all_dense = side.all_dense;
  std::vector<PooledScan> scans = side.scans;
  std::ranges::sort(scans);
  scans.erase(std::ranges::unique(scans).begin(), scans.end());
  std::vector<float> log2_thresholds;
  for (const float natural : side.log_thresholds) log2_thresholds.push_back(natural * 1.4426950409f);
  for (const bool real : {false, true}) {  // first for the size alone
    Layout layout(parts.memory.data());
    parts.works.clear();
    std::vector<HeadRows> head_rows(s.q_heads);  // zeros for dense heads
    for (const PooledScan& scan : scans) {
      const HeadLists heads = heads_with(side, s, scan);
      if (most_of(heads) == 0) continue;
      require(why_unsupported(scan, grid.block));
      parts.works.push_back(make_work(scan, side, s, grid, heads, parts.works, layout));
      if (real) place_heads(parts.works.back(), heads, s.head_dim, head_rows);
    }
    parts.in.stats = layout.take<char>(channel_stats_bytes(s.kv_heads, s.kv_len, s.head_dim));
    parts.in.k_mean = layout.take<float>(std::size_t(s.kv_heads) * s.head_dim);
    parts.in.k_deviation = layout.take<float>(s.kv_heads);
    parts.in.head_rows = layout.upload(head_rows);
    parts.in.log2_thresholds = layout.upload(log2_thresholds);
    if (!real) parts.memory = DeviceBuffer(layout.used());
  }
}

PooledSelection::~PooledSelection() = default;

void PooledSelection::run(MaskView mask, Stream stream) const {
  const DeviceProblem& p = parts_->problem;
  const PooledInputs& in = parts_->in;
  keep_always_kernel<<<dim3(ceil_div(mask.grid.q_blocks(), kMaskRows), mask.heads), dim3(32, kMaskRows), 0, stream>>>(
      DeviceGrid(mask.grid), parts_->local_blocks, parts_->all_dense, in.log2_thresholds, mask.bits);
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
  if (parts_->works.empty()) return;
  channel_stats(p.k, p.dtype, p.shape.kv_heads, p.shape.kv_len, p.shape.head_dim, in.stats, {in.k_mean, in.k_deviation},
                stream);
  int most_rows = 0;
  for (const PooledWork& work : parts_->works) most_rows = std::max(most_rows, mask.grid.q_blocks() * work.group_rows);
  pool_queries(p, mask.grid, in, most_rows, stream);
  for (const PooledWork& work : parts_->works) {
    if (!work.shares_keys) pool_keys(p, work, in, stream);
    add_reference(p, work, stream);
    scan_pooled(p, work, mask, stream);
  }
}

}  // namespace salebench::cuda
