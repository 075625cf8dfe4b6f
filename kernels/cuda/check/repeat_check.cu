#include "kernels/cuda/check/repeat_check.h"

#include "kernels/cuda/device/launch.cuh"

namespace salebench::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocks = 1024;  // fixed, as the order of the sums follows from it; fills any chip here

__device__ inline std::uint32_t bits_of(float value) {
  return __float_as_uint(value);
}
__device__ inline std::uint32_t bits_of(__half value) {
  return __half_as_ushort(value);
}
__device__ inline std::uint32_t bits_of(__nv_bfloat16 value) {
  return __bfloat16_as_ushort(value);
}

/// Sums of a few values, small enough for float and int; a thread adds them to its ValueDifference.
struct PartDifference {
  float difference_squared = 0, expected_squared = 0;
  int differing = 0, not_finite = 0;

  template <class T>
  __device__ void add(T value, T expected) {
    const float x = float(value), y = float(expected);
    const bool same = bits_of(value) == bits_of(expected);
    const float difference = same ? 0.0f : x - y;
    difference_squared += difference * difference;
    expected_squared += y * y;
    differing += !same;
    not_finite += !isfinite(x);
  }
};

__device__ inline void add(ValueDifference& sum, const PartDifference& part) {
  sum.difference_squared += part.difference_squared;
  sum.expected_squared += part.expected_squared;
  sum.differing += part.differing;
  sum.not_finite += part.not_finite;
}
__device__ inline void add(ValueDifference& sum, const ValueDifference& other) {
  sum.difference_squared += other.difference_squared;
  sum.expected_squared += other.expected_squared;
  sum.differing += other.differing;
  sum.not_finite += other.not_finite;
}

/// The sum over the threads of a CTA, in a fixed order; complete in thread 0.
__device__ ValueDifference cta_sum(ValueDifference mine) {
  __shared__ alignas(ValueDifference) unsigned char storage[kThreads * sizeof(ValueDifference)];
  auto* const all = reinterpret_cast<ValueDifference*>(storage);
  all[threadIdx.x] = mine;
  for (unsigned width = kThreads / 2; width > 0; width /= 2) {
    __syncthreads();
    if (threadIdx.x < width) add(all[threadIdx.x], all[threadIdx.x + width]);
  }
  return all[0];
}

/// 16 bytes a thread and step; partial [kBlocks].
template <class T>
__global__ void __launch_bounds__(kThreads)
    compare_kernel(const T* values, const T* expected, std::size_t count, ValueDifference* partial) {
  constexpr int kPack = 16 / sizeof(T);
  struct alignas(16) Pack {
    T value[kPack];
  };
  const std::size_t packs = count / kPack, first = blockIdx.x * std::size_t(kThreads) + threadIdx.x;
  ValueDifference sum;
#pragma unroll 2
  for (std::size_t i = first; i < packs; i += std::size_t(kBlocks) * kThreads) {
    const Pack a = reinterpret_cast<const Pack*>(values)[i], b = reinterpret_cast<const Pack*>(expected)[i];
    PartDifference part;
#pragma unroll
    for (int j = 0; j < kPack; ++j) part.add(a.value[j], b.value[j]);
    add(sum, part);
  }
  if (first < count % kPack) {
    PartDifference part;
    part.add(values[packs * kPack + first], expected[packs * kPack + first]);
    add(sum, part);
  }
  sum = cta_sum(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kThreads) add_partial_kernel(const ValueDifference* partial, ValueDifference* total) {
  ValueDifference sum;
  for (int i = threadIdx.x; i < kBlocks; i += kThreads) add(sum, partial[i]);
  sum = cta_sum(sum);
  if (threadIdx.x == 0) *total = sum;
}

__global__ void __launch_bounds__(kThreads) words_kernel(const std::uint32_t* bits, const std::uint32_t* expected,
                                                         std::size_t words, std::uint64_t* differing) {
  unsigned long long mine = 0;
  for (std::size_t i = blockIdx.x * std::size_t(kThreads) + threadIdx.x; i < words;
       i += std::size_t(kBlocks) * kThreads)
    mine += bits[i] != expected[i];
  if (mine > 0) atomicAdd(reinterpret_cast<unsigned long long*>(differing), mine);
}

}  // namespace

std::size_t compare_values_bytes() {
  return kBlocks * sizeof(ValueDifference);
}

void compare_values(ValueType type, const void* values, const void* expected, std::size_t count, void* workspace,
                    ValueDifference* difference, Stream stream) {
  auto* const partial = static_cast<ValueDifference*>(workspace);
  const auto run = [&]<class T>(const T* a) {
    compare_kernel<<<kBlocks, kThreads, 0, stream>>>(a, static_cast<const T*>(expected), count, partial);
  };
  switch (type) {
    case ValueType::fp16:
      run(static_cast<const __half*>(values));
      break;
    case ValueType::bf16:
      run(static_cast<const __nv_bfloat16*>(values));
      break;
    case ValueType::float32:
      run(static_cast<const float*>(values));
      break;
  }
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
  add_partial_kernel<<<1, kThreads, 0, stream>>>(partial, difference);
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
}

void count_differing_words(const std::uint32_t* bits, const std::uint32_t* expected, std::size_t words,
                           std::uint64_t* differing, Stream stream) {
  SALEBENCH_CUDA_CHECK(cudaMemsetAsync(differing, 0, sizeof *differing, stream));
  words_kernel<<<kBlocks, kThreads, 0, stream>>>(bits, expected, words, differing);
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
}

}  // namespace salebench::cuda
