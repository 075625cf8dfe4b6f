// What the parts of salebench_cuda_bench share: random problems in device memory.
#pragma once

#include <cmath>
#include <set>
#include <string>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/launch.cuh"

namespace salebench::cuda {

constexpr std::size_t kFlushBytes = std::size_t(256) << 20;  // above twice the L2 of any chip here

/// How bench_dense_kernels() measures.
struct DenseBench {
  int head_dim = 128;
  int pause_ms = 0;             ///< idle before each run: the chip's clock recovers from what ran before
  std::set<std::string> names;  ///< which kernels; all if empty
};

/// The dense kernels that are built in and can run, side by side: milliseconds, TFLOP/s and spread.
void bench_dense_kernels(int length, const DenseBench& how, char* flush);

__host__ __device__ inline std::uint32_t hash(std::uint64_t x) {  // splitmix64
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return std::uint32_t(x >> 32);
}

template <class T>
T* allocate(std::size_t count) {
  void* memory = nullptr;
  SALEBENCH_CUDA_CHECK(cudaMalloc(&memory, count * sizeof(T)));
  return static_cast<T*>(memory);
}

/// Fills with values of mean 0 and variance 1, near enough to normal.
void fill_normal(__nv_bfloat16* values, std::size_t count, std::uint64_t seed);

/// One problem in device memory and room for its results: bf16, 32 query and 8 KV heads, causal.
struct Case {
  DeviceProblem p;
  DeviceAttention out;
  double dense_flops;

  explicit Case(int length, int head_dim = 128) {
    p.shape = {32, 8, length, length, head_dim};
    p.scale = 1 / std::sqrt(float(head_dim));
    const std::size_t q = std::size_t(p.shape.q_heads) * length * head_dim,
                      kv = std::size_t(p.shape.kv_heads) * length * head_dim;
    auto* const values = allocate<__nv_bfloat16>(q + 2 * kv);
    fill_normal(values, q + 2 * kv, 1);
    p.q = values, p.k = values + q, p.v = values + q + kv;
    out = {allocate<float>(q), allocate<float>(std::size_t(p.shape.q_heads) * length)};
    dense_flops = 4.0 * head_dim * p.shape.q_heads * (0.5 * length * (length + 1.0));
  }
  ~Case() {
    cudaFree(const_cast<void*>(p.q));
    cudaFree(out.output);
    cudaFree(out.lse);
  }
  Case(const Case&) = delete;
  Case& operator=(const Case&) = delete;
};

}  // namespace salebench::cuda
