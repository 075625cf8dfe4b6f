#include "kernels/cuda/check/mask_recall.h"

#include "kernels/cuda/attention/grid.cuh"
#include "kernels/cuda/device/launch.cuh"

namespace salebench::cuda {
namespace {

constexpr int kRows = 64, kKeys = 64;  // of a CTA, and of a step
constexpr int kSide = 16;              // threads each way; 16 neighbours share rows
constexpr int kThreads = kSide * kSide;
constexpr int kEach = kRows / kSide;  // rows, and keys, of a thread
static_assert(kKeys / kSide == kEach);

/// The largest, or the sum, of a value over the threads that share rows; complete in each.
__device__ inline double row_max(double x) {
  for (int step = kSide / 2; step > 0; step /= 2) x = fmax(x, __shfl_xor_sync(~0u, x, step));
  return x;
}
__device__ inline double row_sum(double x) {
  for (int step = kSide / 2; step > 0; step /= 2) x += __shfl_xor_sync(~0u, x, step);
  return x;
}

/// Copies 64 rows of a head [rows, kDim] from `first` on to shared memory, as floats; rows past the end become zero.
template <class T, int kDim>
__device__ inline void load_tile(float (*to)[kDim + 1], const T* head, int first, int rows) {
  for (int i = threadIdx.x; i < kRows * kDim; i += kThreads) {
    const int row = first + i / kDim;
    to[i / kDim][i % kDim] = row < rows ? float(head[std::size_t(row) * kDim + i % kDim]) : 0.0f;
  }
}

/// Online softmax sums of a row: of all that it sees, and of what the mask keeps.
struct RowSums {
  double most = -INFINITY, all = 0, kept = 0;
};

/// A thread's keys are tx + 16 c, so that neighbours read neighbouring banks.
template <class T, int kDim>
__global__ void __launch_bounds__(kThreads, 1)
    recall_kernel(DeviceProblem p, DeviceGrid grid, int group, const std::uint32_t* bits, double* recall) {
  extern __shared__ float memory[];
  auto* const q = reinterpret_cast<float(*)[kDim + 1]>(memory);
  auto* const k = q + kRows;
  const int first = (gridDim.x - 1 - blockIdx.x) * kRows, head = blockIdx.y, tx = threadIdx.x % kSide;
  const int own_row = first + threadIdx.x / kSide * kEach;
  const T* const keys = static_cast<const T*>(p.k) + std::size_t(head / group) * grid.kv_len * kDim;
  load_tile<T, kDim>(q, static_cast<const T*>(p.q) + std::size_t(head) * grid.q_len * kDim, first, grid.q_len);
  RowSums sums[kEach];
  const int last = min(grid.q_len, first + kRows) - 1, end = grid.key_end(last);
  for (int key0 = grid.key_begin(first) / kKeys * kKeys; key0 < end; key0 += kKeys) {
    __syncthreads();
    load_tile<T, kDim>(k, keys, key0, grid.kv_len);
    __syncthreads();
    double score[kEach][kEach] = {};
    for (int d = 0; d < kDim; ++d) {
      double left[kEach], right[kEach];
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        left[i] = q[own_row - first + i][d];
        right[i] = k[tx + kSide * i][d];
      }
#pragma unroll
      for (int r = 0; r < kEach; ++r)
#pragma unroll
        for (int c = 0; c < kEach; ++c) score[r][c] += left[r] * right[c];
    }
#pragma unroll
    for (int r = 0; r < kEach; ++r) {
      const int row = min(own_row + r, last);
      const std::uint32_t* const tiles = bits + (std::size_t(head) * grid.q_blocks + row / grid.block_q) * grid.words;
      double most = -INFINITY;
#pragma unroll
      for (int c = 0; c < kEach; ++c) {
        const int key = key0 + tx + kSide * c;
        score[r][c] = key >= grid.key_begin(row) && key < grid.key_end(row) ? p.scale * score[r][c] : -INFINITY;
        most = fmax(most, score[r][c]);
      }
      RowSums& sum = sums[r];
      most = fmax(sum.most, row_max(most));
      if (most == -INFINITY) continue;
      const double rescale = exp(sum.most - most);
      sum.most = most, sum.all *= rescale, sum.kept *= rescale;
#pragma unroll
      for (int c = 0; c < kEach; ++c) {
        const int key = key0 + tx + kSide * c, tile = key / grid.block_k;
        const double weight = exp(score[r][c] - most);
        sum.all += weight;
        if (grid.visible(row, key) && (tiles[tile / 32] >> (tile % 32) & 1u)) sum.kept += weight;
      }
    }
  }
#pragma unroll
  for (int r = 0; r < kEach; ++r) {
    const double all = row_sum(sums[r].all), kept = row_sum(sums[r].kept);
    if (tx == 0 && own_row + r <= last) recall[std::size_t(head) * grid.q_len + own_row + r] = kept / all;
  }
}

}  // namespace

void mask_recall(const DeviceProblem& p, MaskView mask, double* recall, Stream stream) {
  require(why_unsupported(p.shape, p.scale));
  const DeviceGrid grid(mask.grid);
  dispatch(p.dtype, p.shape.head_dim, [&](auto type, auto dim) {
    constexpr auto kernel = recall_kernel<decltype(type), dim>;
    constexpr int bytes = (kRows + kKeys) * (dim + 1) * sizeof(float);
    SALEBENCH_CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
    kernel<<<dim3(ceil_div(p.shape.q_len, kRows), p.shape.q_heads), kThreads, bytes, stream>>>(p, grid, p.shape.group(),
                                                                                               mask.bits, recall);
  });
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
}

}  // namespace salebench::cuda
