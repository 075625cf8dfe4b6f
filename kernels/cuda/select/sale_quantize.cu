#include <cfloat>
#include <climits>

#include "kernels/cuda/select/sale_codes.cuh"

namespace salebench::cuda {
namespace {

constexpr int kRows = 32;  // rows a CTA quantises; a group of rows that share a scale lies within
constexpr int kThreadsPerRow = 4;
constexpr int kThreads = kRows * kThreadsPerRow;
// A group of equal queries has no range; the floor keeps bias / scale within int32 for any head_dim up to 256.
constexpr float kScaleFloor = 1e-4f;

/// A quarter of a row minus the mean: 8 of every 32 channels, so that the row's four threads read side by side.
template <class T, int kDim>
struct QuarterRow {
  static constexpr int kCount = kDim / kThreadsPerRow;
  float x[kCount];

  /// Channel of x[i], for i a multiple of 8.
  __device__ static int channel(int i) { return 4 * i + threadIdx.x % kThreadsPerRow * 8; }

  __device__ QuarterRow(const T* row, const float* mean, bool valid) {
#pragma unroll
    for (int i = 0; i < kCount; i += 8) {
      const uint4 eight = valid ? *reinterpret_cast<const uint4*>(row + channel(i)) : uint4{};
      const std::uint32_t pairs[4] = {eight.x, eight.y, eight.z, eight.w};
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const float2 two = unpack<T>(pairs[j]);
        x[i + 2 * j] = valid ? two.x - mean[channel(i) + 2 * j] : 0;
        x[i + 2 * j + 1] = valid ? two.y - mean[channel(i) + 2 * j + 1] : 0;
      }
    }
  }
  __device__ float max_abs() const {
    float most = 0;
#pragma unroll
    for (int i = 0; i < kCount; ++i) most = fmaxf(most, fabsf(x[i]));
    return most;
  }
  __device__ float dot(const float* other) const {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kCount; i += 8)
#pragma unroll
      for (int j = 0; j < 8; ++j) sum += x[i + j] * other[channel(i) + j];
    return sum;
  }
  /// Rounds to whole multiples of the scale, and writes them to row `at` of the codes.
  template <int kBits>
  __device__ void write(float scale, std::int8_t* codes, std::size_t at) const {
    constexpr int kPerWord = 32 / kBits;
    const float inverse = scale > 0 ? 1.0f / scale : 0.0f;
    std::int8_t* const row = codes + at * (kDim * kBits / 8);
#pragma unroll
    for (int i = 0; i < kCount; i += 8) {
      std::uint32_t words[2] = {};
#pragma unroll
      for (int j = 0; j < 8; ++j)
        words[j / kPerWord] |= (__float2int_rn(x[i + j] * inverse) & ((1u << kBits) - 1)) << (j % kPerWord * kBits);
      if constexpr (kBits == 8)
        *reinterpret_cast<uint2*>(row + channel(i)) = make_uint2(words[0], words[1]);
      else
        *reinterpret_cast<std::uint32_t*>(row + channel(i) / 2) = words[0];
    }
  }
};

/// Largest value of each group of rows; complete after a barrier. Non-negative floats order as their bits do.
__device__ inline void join_group(int* group_most, float most) {
  atomicMax(group_most, __float_as_int(most));
}

/// An integer that orders as the float does, and back.
__device__ inline int ordered(float x) {
  const int bits = __float_as_int(x);
  return bits >= 0 ? bits : bits ^ INT_MAX;
}
__device__ inline float of_ordered(int x) {
  return __int_as_float(x >= 0 ? x : x ^ INT_MAX);
}

/// Rows i and i + 8 of each 16 share a scale.
template <class T, int kDim, int kBits>
__global__ void __launch_bounds__(kThreads) quantize_q_kernel(const T* q, int q_len, float levels, SaleBuffers b) {
  __shared__ int most[kRows / 2], mean_most;
  const int head = blockIdx.y, local = threadIdx.x / kThreadsPerRow, row = blockIdx.x * kRows + local;
  const std::size_t at = std::size_t(head) * q_len + row;
  const float* const mean = b.q_mean + head * kDim;
  if (threadIdx.x < kRows / 2) most[threadIdx.x] = 0;
  if (threadIdx.x == 0) mean_most = 0;
  __syncthreads();
  const QuarterRow<T, kDim> part(q + at * kDim, mean, row < q_len);
  const int group = local / 16 * 8 + local % 8;
  join_group(&most[group], part.max_abs());
  if (threadIdx.x < kDim) join_group(&mean_most, fabsf(mean[threadIdx.x]));
  __syncthreads();
  if (row >= q_len) return;
  const float scale = fmaxf(__int_as_float(most[group]) / levels, kScaleFloor * __int_as_float(mean_most));
  part.template write<kBits>(scale, b.q, at);
  if (threadIdx.x % kThreadsPerRow == 0) b.q_scale[at] = scale;
}

/// Keys j of a block with equal (j mod 8) / 2 share a scale. Also the bias of each key for the query heads of its
/// group.
template <class T, int kDim, int kBits>
__global__ void __launch_bounds__(kThreads)
    quantize_k_kernel(const T* k, int kv_len, int group_heads, float levels, SaleBuffers b) {
  __shared__ int most[kKeyGroups], most_bias[2][2 * kKeyGroups];  // [query head mod 2][of biases, of -biases]
  const int head = blockIdx.y, local = threadIdx.x / kThreadsPerRow, key = blockIdx.x * kRows + local;
  const int quarter = threadIdx.x % kThreadsPerRow;
  const std::size_t at = std::size_t(head) * kv_len + key;
  if (threadIdx.x < kKeyGroups) most[threadIdx.x] = 0;
  if (threadIdx.x < 4 * kKeyGroups) most_bias[threadIdx.x % 2][threadIdx.x / 2] = INT_MIN;
  __syncthreads();
  const QuarterRow<T, kDim> part(k + at * kDim, b.k_mean + head * kDim, key < kv_len);
  const int group = local % 8 / 2;
  join_group(&most[group], part.max_abs());
  __syncthreads();
  const float scale = __int_as_float(most[group]) / levels;
  part.template write<kBits>(scale, b.k, std::size_t(head) * b.key_room + key);  // zeros past the end
  if (threadIdx.x < kKeyGroups)
    b.k_inverse[std::size_t(head) * (b.key_room / kChunkKeys) * kKeyGroups + scale_place(blockIdx.x, threadIdx.x)] =
        fminf(levels / __int_as_float(most[threadIdx.x]), FLT_MAX);  // times a limit of 0, 0
  for (int h = head * group_heads; h < (head + 1) * group_heads; ++h) {
    const float dot = row_sum(part.dot(b.q_mean + h * kDim));
    const float bias = scale > 0 ? dot / scale : 0.0f;
    int* const of_groups = most_bias[h % 2];
    int* const of_negated = of_groups + kKeyGroups;
    if (quarter == 0) {
      b.bias[std::size_t(h) * b.key_room + blockIdx.x * kRows + bias_place(local)] = bias;
      atomicMax(&of_groups[group], ordered(bias));
      atomicMax(&of_negated[group], ordered(-bias));
    }
    __syncthreads();
    if (threadIdx.x < kKeyGroups) {
      const float top = of_ordered(of_groups[threadIdx.x]);
      b.group_bias[std::size_t(h) * (b.key_room / kChunkKeys) * kKeyGroups + scale_place(blockIdx.x, threadIdx.x)] =
          top;
      const int largest = __float_as_int(fmaxf(top, of_ordered(of_negated[threadIdx.x])));
      if (largest > b.bias_most[h]) atomicMax(&b.bias_most[h], largest);  // few do
      of_groups[threadIdx.x] = of_negated[threadIdx.x] = INT_MIN;
    }
  }
}

template <int kBits>
void quantize(const DeviceProblem& p, float levels, const SaleBuffers& b, Stream stream) {
  const Shape& s = p.shape;
  dispatch(p.dtype, s.head_dim, [&](auto type, auto dim) {
    using T = decltype(type);
    quantize_q_kernel<T, dim, kBits><<<dim3(ceil_div(s.q_len, kRows), s.q_heads), kThreads, 0, stream>>>(
        static_cast<const T*>(p.q), s.q_len, levels, b);
    SALEBENCH_CUDA_CHECK(cudaGetLastError());
    quantize_k_kernel<T, dim, kBits><<<dim3(b.key_room / kRows, s.kv_heads), kThreads, 0, stream>>>(
        static_cast<const T*>(p.k), s.kv_len, s.group(), levels, b);
  });
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
}

}  // namespace

void sale_quantize(const DeviceProblem& p, const SaleOptions& options, const SaleBuffers& b, Stream stream) {
  SALEBENCH_CUDA_CHECK(cudaMemsetAsync(b.bias_most, 0, sizeof(int) * p.shape.q_heads, stream));
  const float levels = options.bits == 4 ? 7.0f : 127.0f;
  if (sale_packs_codes(options))
    quantize<4>(p, levels, b, stream);
  else
    quantize<8>(p, levels, b, stream);
}

}  // namespace salebench::cuda
