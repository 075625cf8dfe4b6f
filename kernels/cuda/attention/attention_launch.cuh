// Instantiates the attention kernel for one storage type.
#pragma once

#include "kernels/cuda/attention/attention_kernel.cuh"
#include "kernels/cuda/device/launch.cuh"

namespace salebench::cuda {

template <class T, int kDim, int kRows, bool kExact>
void launch_one(const AttentionArgs& args, int items, Stream stream) {
  constexpr auto kernel = attention_kernel<T, kDim, kRows, kExact>;
  constexpr int bytes = attention_shared_bytes<kDim, kRows>();
  SALEBENCH_CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
  kernel<<<items, kRows, bytes, stream>>>(args);
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
}

template <class T, int kDim>
void launch_dim(const AttentionArgs& args, bool exact, int items, Stream stream) {
  if (exact)
    launch_one<T, kDim, 128, true>(args, items, stream);
  else if (args.grid.block_q == 128)
    launch_one<T, kDim, 128, false>(args, items, stream);
  else
    launch_one<T, kDim, 64, false>(args, items, stream);
}

template <class T>
void launch_attention(const AttentionArgs& args, int head_dim, bool exact, int items, Stream stream) {
  if (head_dim == 64)
    launch_dim<T, 64>(args, exact, items, stream);
  else
    launch_dim<T, 128>(args, exact, items, stream);
}

}  // namespace salebench::cuda
