#include "kernels/cuda/select/pooled.cuh"

namespace salebench::cuda {
namespace {

constexpr int kThreads = 256;

/// A thread makes eight channels of a pooled key; blockIdx.y is the KV head.
template <class T, int kDim, bool kFp8>
__global__ void __launch_bounds__(kThreads)
    pool_keys_kernel(const T* k, int kv_len, int pool, int keys, const float* mean, const float* deviation, char* out) {
  constexpr int kParts = kDim / 8;
  const int part = threadIdx.x % kParts, key = blockIdx.x * (kThreads / kParts) + threadIdx.x / kParts;
  if (key >= keys) return;
  const int first = key * pool, count = min(pool, kv_len - first), head = blockIdx.y;
  const auto* row = reinterpret_cast<const uint4*>(k + (std::size_t(head) * kv_len + first) * kDim) + part;
  float x[8] = {};
  for (int i = 0; i < count; ++i) add_eight<T>(x, row[i * kParts]);
#pragma unroll
  for (int i = 0; i < 8; ++i) x[i] = x[i] / float(count) - mean[head * kDim + 8 * part + i];
  constexpr int kRowBytes = kDim * (kFp8 ? 1 : 2);
  store_codes<kFp8>(out + (std::size_t(head) * keys + key) * kRowBytes, part, x, 1 / code_unit(deviation[head]));
}

}  // namespace

void pool_keys(const DeviceProblem& p, const PooledWork& work, const PooledInputs& in, Stream stream) {
  dispatch(p.dtype, p.shape.head_dim, [&](auto type, auto) {
    dispatch_operands(work.scan, p.shape.head_dim, [&](auto fp8, auto dim) {
      using T = decltype(type);
      const dim3 ctas(ceil_div(work.keys, kThreads / (dim / 8)), p.shape.kv_heads);
      pool_keys_kernel<T, dim, fp8><<<ctas, kThreads, 0, stream>>>(static_cast<const T*>(p.k), p.shape.kv_len,
                                                                   work.scan.key_pool, work.keys, in.k_mean,
                                                                   in.k_deviation, static_cast<char*>(work.k));
    });
  });
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
}

}  // namespace salebench::cuda
