#include "kernels/cuda/hopper/tensor_map.h"
#include "kernels/cuda/select/sale_scan_hopper.cuh"

namespace salebench::cuda {

void sale_scan_hopper(const DeviceProblem& p, const CodeScanArgs& args, Stream stream) {
  const Shape& s = p.shape;
  const HopperCodeArgs hopper{map_byte_rows(args.k, s.kv_heads, args.key_room, s.head_dim, kCodeKeys), args};
  const auto launch = [&](auto dim) {
    constexpr auto kernel = sale_scan_kernel<dim>;
    constexpr int kBytes = sizeof(CodeShared<dim>);
    SALEBENCH_CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes));
    kernel<<<s.q_heads * args.row_groups, kCodeThreads, kBytes, stream>>>(hopper);
    SALEBENCH_CUDA_CHECK(cudaGetLastError());
  };
  if (s.head_dim == 64)
    launch(std::integral_constant<int, 64>());
  else
    launch(std::integral_constant<int, 128>());
}

}  // namespace salebench::cuda
