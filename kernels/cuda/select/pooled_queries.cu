#include <algorithm>

#include "kernels/cuda/hopper/tensor_map.h"
#include "kernels/cuda/select/pooled_queries.cuh"

namespace salebench::cuda {

void pool_queries(const DeviceProblem& p, const BlockGrid& grid, int local_blocks, const PooledInputs& in,
                  Stream stream) {
  const Shape& s = p.shape;
  const QueriesArgs args{map_rows(p.q, p.dtype, s.q_heads, s.q_len, s.head_dim, kUnitRows),
                         map_half_rows(p.k, p.dtype, s.kv_heads, s.kv_len, s.head_dim, kChunkKeys),
                         DeviceGrid(grid),
                         local_blocks,
                         in,
                         s.kv_heads * grid.q_blocks(),
                         p.scale * 1.4426950409f};
  dispatch(p.dtype, s.head_dim, [&](auto type, auto dim) {
    constexpr auto kernel = pool_queries_kernel<decltype(type), decltype(dim)::value>;
    constexpr int kBytes = sizeof(QueriesShared<decltype(dim)::value>);
    SALEBENCH_CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes));
    const int ctas = std::min(args.items, 2 * device_attribute(cudaDevAttrMultiProcessorCount));
    kernel<<<ctas, kQueriesThreads, kBytes, stream>>>(args);
    SALEBENCH_CUDA_CHECK(cudaGetLastError());
  });
}

}  // namespace salebench::cuda
