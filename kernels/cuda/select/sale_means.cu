#include "kernels/cuda/select/sale.cuh"

namespace salebench::cuda {
namespace {

constexpr int kThreads = 256;

/// Sums of the channels over kSlabRows rows of a head: float32 over the rows of a thread, double from there on.
template <class T, int kDim>
__global__ void __launch_bounds__(kThreads) slab_kernel(const T* x, int rows, double* sums) {
  constexpr int kChunks = kDim / 8, kPass = kThreads / kChunks;
  __shared__ float partial[kPass][kDim];
  const int part = threadIdx.x % kChunks, first = threadIdx.x / kChunks, begin = blockIdx.x * kSlabRows;
  const T* const head = x + std::size_t(blockIdx.y) * rows * kDim;
  float sum[8] = {};
  for (int row = begin + first; row < min(rows, begin + kSlabRows); row += kPass) {
    const uint4 eight = *reinterpret_cast<const uint4*>(head + std::size_t(row) * kDim + 8 * part);
    const std::uint32_t pairs[4] = {eight.x, eight.y, eight.z, eight.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float2 two = unpack<T>(pairs[i]);
      sum[2 * i] += two.x, sum[2 * i + 1] += two.y;
    }
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) partial[first][8 * part + i] = sum[i];
  __syncthreads();
  if (threadIdx.x >= kDim) return;
  double total = 0;
  for (int i = 0; i < kPass; ++i) total += partial[i][threadIdx.x];
  sums[(std::size_t(blockIdx.y) * gridDim.x + blockIdx.x) * kDim + threadIdx.x] = total;
}

/// One CTA a head, one thread a channel.
__global__ void mean_kernel(const double* sums, int slabs, int rows, float* means) {
  double total = 0;
  for (int slab = 0; slab < slabs; ++slab)
    total += sums[(std::size_t(blockIdx.x) * slabs + slab) * blockDim.x + threadIdx.x];
  means[blockIdx.x * blockDim.x + threadIdx.x] = float(total / rows);
}

void means_of(const DeviceProblem& p, const void* x, int heads, int rows, const SaleBuffers& b, float* means,
              Stream stream) {
  const int slabs = ceil_div(rows, kSlabRows);
  dispatch(p.dtype, p.shape.head_dim, [&](auto type, auto dim) {
    using T = decltype(type);
    slab_kernel<T, dim><<<dim3(slabs, heads), kThreads, 0, stream>>>(static_cast<const T*>(x), rows, b.slab_sums);
  });
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
  mean_kernel<<<heads, p.shape.head_dim, 0, stream>>>(b.slab_sums, slabs, rows, means);
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
}

}  // namespace

void sale_means(const DeviceProblem& p, const SaleOptions& options, const SaleBuffers& b, Stream stream) {
  const Shape& s = p.shape;
  if (options.smooth_k)
    means_of(p, p.k, s.kv_heads, s.kv_len, b, b.k_mean, stream);
  else
    SALEBENCH_CUDA_CHECK(cudaMemsetAsync(b.k_mean, 0, sizeof(float) * s.kv_heads * s.head_dim, stream));
  if (options.smooth_q)
    means_of(p, p.q, s.q_heads, s.q_len, b, b.q_mean, stream);
  else
    SALEBENCH_CUDA_CHECK(cudaMemsetAsync(b.q_mean, 0, sizeof(float) * s.q_heads * s.head_dim, stream));
}

}  // namespace salebench::cuda
