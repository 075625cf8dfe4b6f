#include "kernels/cuda/select/pooled.cuh"

namespace salebench::cuda {
namespace {

constexpr int kThreads = 256;

/// A thread makes eight channels of a pooled row of a stack; blockIdx.y is the query head. Rows past the end are zeros.
template <class T, int kDim>
__global__ void __launch_bounds__(kThreads)
    pool_queries_kernel(DeviceProblem p, PooledInputs in, int group, int q_blocks, float scale2) {
  constexpr int kParts = kDim / 8;
  const int part = threadIdx.x % kParts, row = blockIdx.x * (kThreads / kParts) + threadIdx.x / kParts;
  const int head = blockIdx.y, kv_head = head / group;
  const HeadRows to = in.head_rows[head];
  if (to.heads == 0 || row / to.group_rows >= q_blocks) return;  // a dense head; all rows of a warp or none
  const int first = row * to.row_pool * to.row_stride, count = min(to.row_pool, p.shape.q_len - first);
  const auto* from =
      reinterpret_cast<const uint4*>(static_cast<const T*>(p.q) + (std::size_t(head) * p.shape.q_len + first) * kDim);
  float x[8] = {};
  for (int i = 0; i < count; ++i) add_eight<T>(x, from[i * kParts + part]);
  const float inverse_count = 1 / float(max(1, count));
  const float* const mean = in.k_mean + kv_head * kDim + 8 * part;
  std::uint32_t rounded[4];
  float most = 0, dot = 0;  // of the rounded row, as the reference has it
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    x[2 * i] *= inverse_count, x[2 * i + 1] *= inverse_count;
    most = fmaxf(most, fmaxf(fabsf(x[2 * i]), fabsf(x[2 * i + 1])));
    rounded[i] = pack<T>(x[2 * i], x[2 * i + 1]);
    const float2 two = unpack<T>(rounded[i]);
    dot += two.x * mean[2 * i] + two.y * mean[2 * i + 1];
  }
#pragma unroll
  for (int step = 1; step < kParts; step *= 2) {
    most = fmaxf(most, __shfl_xor_sync(~0u, most, step));
    dot += __shfl_xor_sync(~0u, dot, step);
  }
  const float unit = code_unit(most);
  const std::size_t at = std::size_t(row / to.group_rows * to.heads + to.place) * to.group_rows + row % to.group_rows;
  if (to.fp8)
    store_codes<true>(static_cast<char*>(to.q) + at * kDim, part, x, 1 / unit);
  else
    store_codes<false>(static_cast<char*>(to.q) + at * kDim * 2, part, x, 1 / unit);
  static_cast<uint4*>(to.means)[at * kParts + part] = {rounded[0], rounded[1], rounded[2], rounded[3]};
  if (part == 0)
    to.rows[at] = count > 0 ? RowScore{unit * code_unit(in.k_deviation[kv_head]) * scale2,
                                       in.log2_thresholds[head] - dot * scale2}
                            : RowScore{1, INFINITY};
}

}  // namespace

void pool_queries(const DeviceProblem& p, const BlockGrid& grid, const PooledInputs& in, int most_rows, Stream stream) {
  dispatch(p.dtype, p.shape.head_dim, [&](auto type, auto dim) {
    const dim3 ctas(ceil_div(most_rows, kThreads / (dim / 8)), p.shape.q_heads);
    pool_queries_kernel<decltype(type), dim>
        <<<ctas, kThreads, 0, stream>>>(p, in, p.shape.group(), grid.q_blocks(), p.scale * 1.4426950409f);
  });
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
}

}  // namespace salebench::cuda
