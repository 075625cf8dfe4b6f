#include "tests/misbehaving_kernels.h"

#include "kernels/cuda/launch.cuh"

namespace salebench::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void write_kernel(int* at) {
  *at = 1;
}

__global__ void spin_kernel(std::uint64_t nanoseconds) {
  std::uint64_t start, now;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(start));
  do asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  while (now - start < nanoseconds);
}

template <class T>
__global__ void __launch_bounds__(kThreads) add_kernel(T* output, std::size_t count, float more) {
  const std::size_t i = blockIdx.x * std::size_t(kThreads) + threadIdx.x;
  if (i < count) output[i] = T(float(output[i]) + more);
}

template <class T>
void add(T* output, std::size_t count, float more, Stream stream) {
  add_kernel<<<unsigned((count + kThreads - 1) / kThreads), kThreads, 0, stream>>>(output, count, more);
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
}

}  // namespace

void write_to_bad_pointer(Stream stream) {
  write_kernel<<<1, 1, 0, stream>>>(reinterpret_cast<int*>(64));
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
}

void spin(double seconds, Stream stream) {
  spin_kernel<<<1, 1, 0, stream>>>(std::uint64_t(seconds * 1e9));
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
}

void add_call_count(Dtype dtype, void* output, std::size_t count, Stream stream) {
  static int calls = 0;
  const auto more = float(calls++);
  if (dtype == Dtype::fp16)
    add(static_cast<__half*>(output), count, more, stream);
  else
    add(static_cast<__nv_bfloat16*>(output), count, more, stream);
}

}  // namespace salebench::cuda
