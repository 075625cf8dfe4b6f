#include "kernels/cuda/device/l2_flush.h"

#include "kernels/cuda/device/launch.cuh"

namespace salebench::cuda {
namespace {

constexpr int kBlocks = 512, kThreads = 512;

/// The sum is written where it can't be zero, which the compiler does not know.
__global__ void __launch_bounds__(kThreads)
    read_kernel(const uint4* zeros, std::size_t count, unsigned* never_written) {
  unsigned folded = 0;
  for (std::size_t i = blockIdx.x * std::size_t(kThreads) + threadIdx.x; i < count;
       i += std::size_t(kBlocks) * kThreads) {
    const uint4 value = __ldcg(zeros + i);
    folded |= value.x | value.y | value.z | value.w;
  }
  if (folded != 0) *never_written = folded;
}

}  // namespace

void flush_l2_by_reading(const void* zeros, std::size_t bytes, unsigned* never_written, Stream stream) {
  SALEBENCH_CUDA_CHECK(cudaCtxResetPersistingL2Cache());
  read_kernel<<<kBlocks, kThreads, 0, stream>>>(static_cast<const uint4*>(zeros), bytes / sizeof(uint4), never_written);
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
}

}  // namespace salebench::cuda
