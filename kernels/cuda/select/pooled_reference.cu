#include "kernels/cuda/select/pooled_reference.cuh"

#include <algorithm>

#include "kernels/cuda/hopper/tensor_map.h"

namespace salebench::cuda {

void add_reference(const DeviceProblem& p, const PooledWork& work, Stream stream) {
  const Shape& s = p.shape;
  const int parts = ceil_div(work.heads.most * work.group_rows, kReferenceRows);
  const ReferenceArgs args{map_rows(work.means, p.dtype, s.kv_heads, work.stack_rows, s.head_dim, kReferenceRows),
                           map_half_rows(p.k, p.dtype, s.kv_heads, s.kv_len, s.head_dim, kChunkKeys),
                           work,
                           parts,
                           s.kv_heads * work.grid.q_blocks * parts,
                           p.scale * 1.4426950409f};
  dispatch(p.dtype, s.head_dim, [&](auto type, auto dim) {
    constexpr int kDim = decltype(dim)::value;
    constexpr auto kernel = pooled_reference_kernel<decltype(type), kDim>;
    constexpr int kBytes = sizeof(ReferenceShared<kDim>), kCtas = kDim == 64 ? 4 : 2;
    SALEBENCH_CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes));
    const int ctas = std::min(args.items, kCtas * device_attribute(cudaDevAttrMultiProcessorCount));
    kernel<<<ctas, kReferenceThreads, kBytes, stream>>>(args);
    SALEBENCH_CUDA_CHECK(cudaGetLastError());
  });
}

}  // namespace salebench::cuda
