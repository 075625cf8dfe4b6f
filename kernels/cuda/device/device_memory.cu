#include "kernels/cuda/device/device_memory.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>

#include "kernels/cuda/device/handles.cuh"
#include "kernels/cuda/device/launch.cuh"

namespace salebench::cuda {
namespace {

std::atomic<std::size_t> held = 0, peak = 0;

void count_allocation(std::size_t bytes) {
  const std::size_t now = held += bytes;
  std::size_t most = peak;
  while (most < now && !peak.compare_exchange_weak(most, now)) continue;
}

[[noreturn]] void throw_out_of_memory(std::size_t bytes) {
  cudaGetLastError();  // else the next launch would be blamed for it
  std::size_t free = 0, total = 0;
  SALEBENCH_CUDA_CHECK(cudaMemGetInfo(&free, &total));
  char text[128];
  std::snprintf(text, sizeof text, "device memory: asked for %.1f GB, %.1f of %.1f GB are free", double(bytes) * 1e-9,
                double(free) * 1e-9, double(total) * 1e-9);
  throw OutOfDeviceMemory(text);
}

constexpr int kThreads = 256;
constexpr int kBlocks = 1024;
constexpr std::size_t kChunk = std::size_t(4) << 20;  // values staged at a time: long against a launch, small in memory

__device__ inline void round_to(float value, __half& to) {
  to = __float2half_rn(value);
}
__device__ inline void round_to(float value, __nv_bfloat16& to) {
  to = __float2bfloat16_rn(value);
}

/// Four values a thread and step; `values` lies in host memory and is read once.
template <class T>
__global__ void __launch_bounds__(kThreads) round_kernel(const float* values, std::size_t count, T* to) {
  struct alignas(4 * sizeof(T)) Four {
    T x, y, z, w;
  };
  const std::size_t first = blockIdx.x * std::size_t(kThreads) + threadIdx.x, step = gridDim.x * std::size_t(kThreads);
  for (std::size_t i = first; i < count / 4; i += step) {
    const float4 four = reinterpret_cast<const float4*>(values)[i];
    Four rounded;
    round_to(four.x, rounded.x);
    round_to(four.y, rounded.y);
    round_to(four.z, rounded.z);
    round_to(four.w, rounded.w);
    reinterpret_cast<Four*>(to)[i] = rounded;
  }
  if (first < count % 4) round_to(values[count / 4 * 4 + first], to[count / 4 * 4 + first]);
}

template <class T>
void upload_rounded(std::span<const float> values, T* to, Stream stream) {
  const std::size_t chunk = std::min(values.size(), kChunk);
  const PinnedArray<float> staged(2 * chunk);
  const Event read[2];  // the kernel is done with that half of the staging memory
  for (std::size_t begin = 0, half = 0; begin < values.size(); begin += chunk, half ^= 1) {
    const std::size_t count = std::min(chunk, values.size() - begin);
    float* const stage = staged.data() + half * chunk;
    if (begin >= 2 * chunk) read[half].wait();
    std::memcpy(stage, values.data() + begin, count * sizeof(float));
    round_kernel<<<kBlocks, kThreads, 0, stream>>>(stage, count, to + begin);
    SALEBENCH_CUDA_CHECK(cudaGetLastError());
    read[half].record(stream);
  }
  SALEBENCH_CUDA_CHECK(cudaStreamSynchronize(stream));
}

}  // namespace

DeviceBuffer::DeviceBuffer(std::size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  const cudaError_t error = cudaMalloc(&data_, bytes);
  if (error == cudaErrorMemoryAllocation) throw_out_of_memory(bytes);
  SALEBENCH_CUDA_CHECK(error);
  count_allocation(bytes);
}

DeviceBuffer::~DeviceBuffer() {
  if (!data_) return;
  cudaFree(data_);  // fails only where a fault has lost the device, which other calls report
  held -= bytes_;
}

std::size_t device_bytes_held() {
  return held;
}
std::size_t device_bytes_peak() {
  return peak;
}
void reset_device_bytes_peak() {
  peak = held.load();
}

void fill_bytes(void* device, std::size_t bytes, unsigned char value, Stream stream) {
  SALEBENCH_CUDA_CHECK(cudaMemsetAsync(device, value, bytes, stream));
}

void copy_on_device(void* to, const void* from, std::size_t bytes, Stream stream) {
  SALEBENCH_CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream));
}

void copy_to_device(void* device, const void* host, std::size_t bytes, Stream stream) {
  SALEBENCH_CUDA_CHECK(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream));
  SALEBENCH_CUDA_CHECK(cudaStreamSynchronize(stream));
}

void copy_to_host(void* host, const void* device, std::size_t bytes, Stream stream) {
  SALEBENCH_CUDA_CHECK(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream));
  SALEBENCH_CUDA_CHECK(cudaStreamSynchronize(stream));
}

void upload_as(Dtype dtype, std::span<const float> values, void* device, Stream stream) {
  if (values.empty()) return;
  if (dtype == Dtype::fp16)
    upload_rounded(values, static_cast<__half*>(device), stream);
  else
    upload_rounded(values, static_cast<__nv_bfloat16*>(device), stream);
}

}  // namespace salebench::cuda
