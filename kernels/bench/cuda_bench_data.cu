#include "kernels/bench/cuda_bench.h"
#include "kernels/cuda/device/launch.cuh"

namespace salebench::cuda {
namespace {

__device__ std::uint32_t hash(std::uint64_t x) {  // splitmix64
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return std::uint32_t(x >> 32);
}

/// The sum of four uniform values.
__global__ void fill_kernel(__nv_bfloat16* values, std::size_t count, std::uint64_t seed) {
  for (std::size_t i = blockIdx.x * std::size_t(blockDim.x) + threadIdx.x; i < count;
       i += gridDim.x * std::size_t(blockDim.x)) {
    float sum = -2;
    for (int part = 0; part < 4; ++part) sum += float(hash(seed + 4 * i + part)) * 0x1p-32f;
    values[i] = __float2bfloat16(sum * 1.7320508f);
  }
}

__global__ void tiles_kernel(std::uint32_t* bits, int q_blocks, int words, int block_q, int block_k, double density) {
  const int word = blockIdx.x * blockDim.x + threadIdx.x, q_block = blockIdx.y, head = blockIdx.z;
  if (word >= words) return;
  const int diagonal = q_block * block_q / block_k, end = ((q_block + 1) * block_q + block_k - 1) / block_k;
  std::uint32_t kept = 0;
  for (int b = 0; b < 32; ++b) {
    const int kb = 32 * word + b;
    const std::uint64_t at = (std::uint64_t(head) * q_blocks + q_block) * (words * 32) + kb;
    if (kb < end && (kb >= diagonal || hash(at) * 0x1p-32 < density)) kept |= 1u << b;
  }
  bits[(std::size_t(head) * q_blocks + q_block) * words + word] = kept;
}

}  // namespace

void fill_normal(void* values, std::size_t count, std::uint64_t seed) {
  fill_kernel<<<1024, 256>>>(static_cast<__nv_bfloat16*>(values), count, seed);
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
}

void random_tiles(MaskView mask, double density) {
  const BlockGrid& grid = mask.grid;
  tiles_kernel<<<dim3(ceil_div(grid.words(), 32), grid.q_blocks(), mask.heads), 32>>>(
      mask.bits, grid.q_blocks(), grid.words(), grid.block.q, grid.block.k, density);
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
}

}  // namespace salebench::cuda
