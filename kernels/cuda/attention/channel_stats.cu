#include "kernels/cuda/attention/channel_stats.h"

#include "kernels/cuda/attention/mma.cuh"
#include "kernels/cuda/device/launch.cuh"

namespace salebench::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kSlabRows = 512;  // that one CTA sums up
constexpr int kTotalParts = 8;  // threads that share the slabs of a channel
constexpr int kMaxHeadDim = 128;

/// Of one channel.
struct Stats {
  double sum;
  float least, most;

  __device__ void add(const Stats& other) {
    sum += other.sum;
    least = fminf(least, other.least), most = fmaxf(most, other.most);
  }
};

/// Over kSlabRows rows of a head: float32 sums over the rows of a thread, double from there on.
template <class T, int kDim>
__global__ void __launch_bounds__(kThreads, 4) slab_kernel(const T* x, int rows, Stats* slabs) {
  constexpr int kChunks = kDim / 8, kPass = kThreads / kChunks;
  __shared__ float partial[3][kPass][kDim];
  const int part = threadIdx.x % kChunks, first = threadIdx.x / kChunks, begin = blockIdx.x * kSlabRows;
  const T* const head = x + std::size_t(blockIdx.y) * rows * kDim;
  float sum[8], least[8], most[8];
#pragma unroll
  for (int i = 0; i < 8; ++i) sum[i] = 0, least[i] = INFINITY, most[i] = -INFINITY;
  for (int row = begin + first; row < min(rows, begin + kSlabRows); row += kPass) {
    const uint4 eight = *reinterpret_cast<const uint4*>(head + std::size_t(row) * kDim + 8 * part);
    const std::uint32_t pairs[4] = {eight.x, eight.y, eight.z, eight.w};
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const float2 two = unpack<T>(pairs[i / 2]);
      const float value = i % 2 ? two.y : two.x;
      sum[i] += value;
      least[i] = fminf(least[i], value), most[i] = fmaxf(most[i], value);
    }
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int channel = 8 * part + i;
    partial[0][first][channel] = sum[i], partial[1][first][channel] = least[i], partial[2][first][channel] = most[i];
  }
  __syncthreads();
  if (threadIdx.x >= kDim) return;
  Stats total{0, INFINITY, -INFINITY};
  for (int i = 0; i < kPass; ++i)
    total.add({partial[0][i][threadIdx.x], partial[1][i][threadIdx.x], partial[2][i][threadIdx.x]});
  slabs[(std::size_t(blockIdx.y) * gridDim.x + blockIdx.x) * kDim + threadIdx.x] = total;
}

/// One CTA a head, [kTotalParts][head_dim] threads.
__global__ void __launch_bounds__(kTotalParts* kMaxHeadDim)
    total_kernel(const Stats* slabs, int count, int rows, ChannelStats out) {
  __shared__ Stats partial[kTotalParts][kMaxHeadDim];
  __shared__ int largest;
  const int channel = threadIdx.x, dim = blockDim.x;
  Stats total{0, INFINITY, -INFINITY};
  for (int slab = threadIdx.y; slab < count; slab += kTotalParts)
    total.add(slabs[(std::size_t(blockIdx.x) * count + slab) * dim + channel]);
  partial[threadIdx.y][channel] = total;
  if (threadIdx.y == 0 && channel == 0) largest = 0;
  __syncthreads();
  if (threadIdx.y == 0) {
    for (int i = 1; i < kTotalParts; ++i) total.add(partial[i][channel]);
    const float center = float(total.sum / rows);
    const float deviation = fmaxf(0.0f, fmaxf(total.most - center, center - total.least));
    out.mean[blockIdx.x * dim + channel] = center;
    if (out.channel_deviation) out.channel_deviation[blockIdx.x * dim + channel] = deviation;
    atomicMax(&largest, __float_as_int(deviation));  // bits of floats >= 0
  }
  __syncthreads();
  if (out.deviation && threadIdx.y == 0 && channel == 0) out.deviation[blockIdx.x] = __int_as_float(largest);
}

}  // namespace

std::size_t channel_stats_bytes(int heads, int rows, int head_dim) {
  return std::size_t(heads) * ceil_div(rows, kSlabRows) * head_dim * sizeof(Stats);
}

void channel_stats(const void* x, Dtype dtype, int heads, int rows, int head_dim, void* workspace,
                   const ChannelStats& out, Stream stream) {
  const int count = ceil_div(rows, kSlabRows);
  auto* const slabs = static_cast<Stats*>(workspace);
  dispatch(dtype, head_dim, [&](auto type, auto dim) {
    using T = decltype(type);
    slab_kernel<T, dim><<<dim3(count, heads), kThreads, 0, stream>>>(static_cast<const T*>(x), rows, slabs);
  });
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
  total_kernel<<<heads, dim3(head_dim, kTotalParts), 0, stream>>>(slabs, count, rows, out);
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
}

}  // namespace salebench::cuda
