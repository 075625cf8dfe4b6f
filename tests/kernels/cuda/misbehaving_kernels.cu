#include "tests/kernels/cuda/misbehaving_kernels.h"

#include "kernels/cuda/device/launch.cuh"

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

__global__ void __launch_bounds__(kThreads) sum_kernel(const float4* values, std::size_t count, float* sum) {
  float mine = 0;
  for (std::size_t i = blockIdx.x * std::size_t(kThreads) + threadIdx.x; i < count;
       i += std::size_t(gridDim.x) * kThreads) {
    const float4 four = values[i];
    mine += four.x + four.y + four.z + four.w;
  }
  if (mine != 0) atomicAdd(sum, mine);
}

}  // namespace

void let_lines_persist(std::size_t bytes) {
  SALEBENCH_CUDA_CHECK(cudaDeviceSetLimit(cudaLimitPersistingL2CacheSize, bytes));
}

void read_and_pin(const float* values, std::size_t count, float* sum, Stream stream) {
  cudaLaunchAttribute pin{};
  pin.id = cudaLaunchAttributeAccessPolicyWindow;
  pin.val.accessPolicyWindow.base_ptr = const_cast<float*>(values);
  pin.val.accessPolicyWindow.num_bytes = count * sizeof(float);
  pin.val.accessPolicyWindow.hitRatio = 1;
  pin.val.accessPolicyWindow.hitProp = cudaAccessPropertyPersisting;
  pin.val.accessPolicyWindow.missProp = cudaAccessPropertyStreaming;
  cudaLaunchConfig_t config{};
  config.gridDim = 1024, config.blockDim = kThreads, config.stream = stream;
  config.attrs = &pin, config.numAttrs = 1;
  SALEBENCH_CUDA_CHECK(
      cudaLaunchKernelEx(&config, sum_kernel, reinterpret_cast<const float4*>(values), count / 4, sum));
}

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
