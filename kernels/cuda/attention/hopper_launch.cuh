// Launches an attention kernel of Hopper's.
#pragma once

#include <algorithm>

#include "kernels/cuda/attention/hopper_kernel.cuh"
#include "kernels/cuda/device/launch.cuh"

namespace salebench::cuda {

template <class Consumer>
void launch_hopper(const HopperArgs& args, Stream stream) {
  using Shared = typename Consumer::Shared;
  constexpr auto kernel = hopper_attention_kernel<Consumer>;
  constexpr int kBytes = Shared::kTeams * sizeof(Shared);
  static_assert(kBytes <= 227 << 10);
  const int ctas = std::min(ceil_div(args.items, Shared::kTeams), device_attribute(cudaDevAttrMultiProcessorCount));
  SALEBENCH_CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes));
  kernel<<<ctas, kHopperThreads, kBytes, stream>>>(args);
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
}

}  // namespace salebench::cuda
