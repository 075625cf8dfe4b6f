#include "kernels/cuda/dense/tensor_scale.h"

#include <cuda_fp8.h>

#include <algorithm>

#include "kernels/cuda/attention/mma.cuh"
#include "kernels/cuda/device/launch.cuh"

namespace salebench::cuda {
namespace {

constexpr int kThreads = 256, kEach = 8;
constexpr std::size_t kMaxCtas = 2048;  // a few waves of any card; threads stride over the rest
constexpr float kMostE4m3 = 448;

int ctas(std::size_t count) {
  return int(std::min(kMaxCtas, (count / kEach + kThreads - 1) / kThreads));
}

/// Calls body(i) for every eight values of a tensor.
template <class Body>
__device__ inline void for_each_eight(std::size_t count, const Body& body) {
  for (std::size_t i = blockIdx.x * std::size_t(kThreads) + threadIdx.x; i < count / kEach;
       i += std::size_t(gridDim.x) * kThreads)
    body(i);
}

template <class T>
__device__ inline void load_eight(float (&x)[kEach], const T* values, std::size_t i) {
  const uint4 eight = reinterpret_cast<const uint4*>(values)[i];
  const std::uint32_t pairs[4] = {eight.x, eight.y, eight.z, eight.w};
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    const float2 two = unpack<T>(pairs[j]);
    x[2 * j] = two.x, x[2 * j + 1] = two.y;
  }
}

/// `most` are bits of a float that is not negative.
template <class T>
__global__ void __launch_bounds__(kThreads) most_kernel(const T* values, std::size_t count, std::uint32_t* most) {
  float own = 0;
  for_each_eight(count, [&](std::size_t i) {
    float x[kEach];
    load_eight(x, values, i);
#pragma unroll
    for (const float value : x) own = fmaxf(own, fabsf(value));
  });
  const std::uint32_t all = __reduce_max_sync(~0u, __float_as_uint(own));
  if (threadIdx.x % 32 == 0) atomicMax(most, all);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    round_kernel(const T* values, std::size_t count, const std::uint32_t* most, char* codes, TensorScale* out) {
  const float largest = __uint_as_float(*most), scale = largest > 0 ? largest / kMostE4m3 : 1.0f, inverse = 1 / scale;
  if (blockIdx.x == 0 && threadIdx.x == 0) *out = {scale, inverse};
  for_each_eight(count, [&](std::size_t i) {
    float x[kEach];
    load_eight(x, values, i);
    std::uint32_t words[2] = {};
#pragma unroll
    for (int j = 0; j < kEach; ++j)
      words[j / 4] |= std::uint32_t(__nv_cvt_float_to_fp8(x[j] * inverse, __NV_SATFINITE, __NV_E4M3)) << j % 4 * 8;
    reinterpret_cast<uint2*>(codes)[i] = {words[0], words[1]};
  });
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    widen_kernel(const char* codes, const TensorScale* scale, std::size_t count, T* values) {
  const float factor = scale->scale;
  for_each_eight(count, [&](std::size_t i) {
    const uint2 eight = reinterpret_cast<const uint2*>(codes)[i];
    const std::uint32_t words[2] = {eight.x, eight.y};
    std::uint32_t pairs[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const auto two = __nv_fp8x2_storage_t(words[j / 2] >> j % 2 * 16);
      const float2 wide = __half22float2(__half2(__nv_cvt_fp8x2_to_halfraw2(two, __NV_E4M3)));
      pairs[j] = pack<T>(wide.x * factor, wide.y * factor);
    }
    reinterpret_cast<uint4*>(values)[i] = {pairs[0], pairs[1], pairs[2], pairs[3]};
  });
}

/// Calls body(T()) for the storage type.
template <class Body>
void with_type(Dtype dtype, const Body& body) {
  dispatch(dtype, 64, [&](auto type, auto) { body(type); });
}

}  // namespace

void round_tensor(const void* values, Dtype dtype, std::size_t count, std::uint32_t* most, char* codes,
                  TensorScale* scale, Stream stream) {
  SALEBENCH_CUDA_CHECK(cudaMemsetAsync(most, 0, sizeof *most, stream));
  with_type(dtype, [&](auto type) {
    const auto* const from = static_cast<const decltype(type)*>(values);
    most_kernel<<<ctas(count), kThreads, 0, stream>>>(from, count, most);
    SALEBENCH_CUDA_CHECK(cudaGetLastError());
    round_kernel<<<ctas(count), kThreads, 0, stream>>>(from, count, most, codes, scale);
    SALEBENCH_CUDA_CHECK(cudaGetLastError());
  });
}

void widen_tensor(const char* codes, const TensorScale* scale, Dtype dtype, std::size_t count, void* values,
                  Stream stream) {
  with_type(dtype, [&](auto type) {
    widen_kernel<<<ctas(count), kThreads, 0, stream>>>(codes, scale, count, static_cast<decltype(type)*>(values));
    SALEBENCH_CUDA_CHECK(cudaGetLastError());
  });
}

}  // namespace salebench::cuda
