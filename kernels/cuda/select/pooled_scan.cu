#include "kernels/cuda/select/pooled_scan.cuh"

#include "kernels/cuda/hopper/tensor_map.h"

namespace salebench::cuda {
namespace {

template <class Operands, class Dim, class Pool, class Mass>
void launch(const ScanArgs& args, Operands, Dim, Pool, Mass, Stream stream) {
  constexpr auto kernel = scan_pooled_kernel<Operands::value, Dim::value, Pool::value, Mass::value>;
  constexpr int kBytes = sizeof(ScanShared<Operands::value, Dim::value>);
  SALEBENCH_CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes));
  kernel<<<args.kv_heads * args.stacks, kScanThreads, kBytes, stream>>>(args);
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
}

/// Calls body(std::integral_constant<int, key_pool>(), std::bool_constant<mass>()).
template <class Body>
void dispatch_votes(const PooledScan& scan, const Body& body) {
  const auto with_pool = [&](auto mass) {
    if (scan.key_pool == 1) return body(std::integral_constant<int, 1>(), mass);
    if (scan.key_pool == 2) return body(std::integral_constant<int, 2>(), mass);
    body(std::integral_constant<int, 4>(), mass);
  };
  if (scan.score == PooledScan::Score::mass)
    with_pool(std::true_type());
  else
    with_pool(std::false_type());
}

}  // namespace

void scan_pooled(const DeviceProblem& p, const PooledWork& work, MaskView mask, Stream stream) {
  const Shape& s = p.shape;
  const auto map = [&](const void* codes, int rows, int box_rows) {
    return work.scan.operands == PooledScan::Operands::fp8
               ? map_byte_rows(codes, s.kv_heads, rows, s.head_dim, box_rows)
               : map_rows(codes, Dtype::fp16, s.kv_heads, rows, s.head_dim, box_rows);
  };
  const ScanArgs args{map(work.q, work.stack_rows, kStackRows),
                      map(work.k, work.keys, kScannedKeys),
                      work,
                      work.rows,
                      mask.bits,
                      s.kv_heads,
                      work.stack_rows / kStackRows};
  dispatch_operands(work.scan, s.head_dim, [&](auto fp8, auto dim) {
    dispatch_votes(work.scan, [&](auto pool, auto mass) { launch(args, fp8, dim, pool, mass, stream); });
  });
}

}  // namespace salebench::cuda
