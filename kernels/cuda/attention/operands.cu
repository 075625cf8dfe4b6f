#include "kernels/cuda/attention/operands.h"

#include <cuda_fp8.h>

#include <cfloat>

#include "kernels/cuda/attention/channel_stats.h"
#include "kernels/cuda/attention/tile.cuh"
#include "kernels/cuda/device/launch.cuh"

namespace salebench::cuda {
namespace {

constexpr int kRowMultiple = 128;  // rows of the longest item of work
constexpr int kThreads = 256;
constexpr int kEach = 16;  // channels of a row that a lane holds, side by side: as codes one unit of the swizzle
constexpr float kMostInt8 = 127, kMostE4m3 = 448;

/// Lanes that share a row; they are neighbours.
template <int kDim>
constexpr int kRowLanes = kDim / kEach;

template <class T>
__device__ inline void load_channels(float (&x)[kEach], const T* from) {
#pragma unroll
  for (int part = 0; part < 2; ++part) {
    const uint4 eight = reinterpret_cast<const uint4*>(from)[part];
    const std::uint32_t pairs[4] = {eight.x, eight.y, eight.z, eight.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float2 two = unpack<T>(pairs[i]);
      x[8 * part + 2 * i] = two.x, x[8 * part + 2 * i + 1] = two.y;
    }
  }
}

/// Multiplies a row by an orthonormal Hadamard matrix, in the order of cpu::rotate_rows.
template <int kDim>
__device__ inline void rotate(float (&x)[kEach]) {
#pragma unroll
  for (int step = 1; step < kEach; step *= 2)
#pragma unroll
    for (int i = 0; i < kEach; ++i)
      if (!(i & step)) {
        const float a = x[i], b = x[i + step];
        x[i] = a + b, x[i + step] = a - b;
      }
#pragma unroll
  for (int step = 1; step < kRowLanes<kDim>; step *= 2)
#pragma unroll
    for (float& value : x) {
      const float other = __shfl_xor_sync(~0u, value, step);
      value = lane_id() & step ? other - value : value + other;
    }
  const float factor = 1 / sqrtf(float(kDim));
#pragma unroll
  for (float& value : x) value *= factor;
}

/// The largest |value| of a row.
template <int kDim>
__device__ inline float row_most(const float (&x)[kEach]) {
  float most = 0;
#pragma unroll
  for (const float value : x) most = fmaxf(most, fabsf(value));
#pragma unroll
  for (int step = 1; step < kRowLanes<kDim>; step *= 2) most = fmaxf(most, __shfl_xor_sync(~0u, most, step));
  return most;
}

/// Rounds channels to int8 and stores them as unit `unit` of row `row` of a matrix [rows, kDim] that is swizzled for
/// wgmma: units of rows of 128 bytes by the row, of 64 bytes by half of it.
template <int kDim>
__device__ inline void store_codes(char* matrix, int row, int unit, const float (&x)[kEach], float inverse) {
  std::uint32_t words[kEach / 4] = {};
#pragma unroll
  for (int i = 0; i < kEach; ++i) words[i / 4] |= (__float2int_rn(x[i] * inverse) & 0xffu) << i % 4 * 8;
  const int swizzled = kDim == 128 ? unit ^ row % 8 : unit ^ row / 2 % 4;
  *reinterpret_cast<uint4*>(matrix + std::size_t(row) * kDim + swizzled * kEach) =
      uint4{words[0], words[1], words[2], words[3]};
}

/// blockIdx.y is the query head.
template <class T, int kDim>
__global__ void __launch_bounds__(kThreads)
    round_queries_kernel(const T* q, int q_len, int q_rows, int group, const float* k_mean, float scale, char* codes,
                         float* scales, float* shifts) {
  const int unit = threadIdx.x % kRowLanes<kDim>, head = blockIdx.y;
  const int row = (blockIdx.x * kThreads + threadIdx.x) / kRowLanes<kDim>;
  float x[kEach] = {}, shift = 0;
  if (row < q_len) load_channels(x, q + (std::size_t(head) * q_len + row) * kDim + unit * kEach);
  const float* const mean = k_mean + head / group * kDim + unit * kEach;
#pragma unroll
  for (int i = 0; i < kEach; ++i) shift += x[i] * mean[i];
#pragma unroll
  for (int step = 1; step < kRowLanes<kDim>; step *= 2) shift += __shfl_xor_sync(~0u, shift, step);
  rotate<kDim>(x);
  const float most = row_most<kDim>(x);
  store_codes<kDim>(codes + std::size_t(head) * q_rows * kDim, row, unit, x, most > 0 ? kMostInt8 / most : 0);
  if (unit == 0) {
    scales[std::size_t(head) * q_rows + row] = most / kMostInt8;
    shifts[std::size_t(head) * q_rows + row] = shift * scale;
  }
}

/// A CTA a chunk of 32 keys; blockIdx.y is the KV head.
template <class T, int kDim>
__global__ void __launch_bounds__(kChunkKeys* kRowLanes<kDim>)
    round_keys_kernel(const T* k, int kv_len, const float* mean, char* codes, float* scales) {
  const int unit = threadIdx.x % kRowLanes<kDim>, row = threadIdx.x / kRowLanes<kDim>, head = blockIdx.y;
  const int key = blockIdx.x * kChunkKeys + row;
  const std::size_t chunk = std::size_t(head) * gridDim.x + blockIdx.x;
  __shared__ int most;  // bits of a float that is not negative
  if (threadIdx.x == 0) most = 0;
  float x[kEach] = {};
  if (key < kv_len) {
    load_channels(x, k + (std::size_t(head) * kv_len + key) * kDim + unit * kEach);
#pragma unroll
    for (int i = 0; i < kEach; ++i) x[i] -= mean[head * kDim + unit * kEach + i];
  }
  rotate<kDim>(x);
  const float own = row_most<kDim>(x);
  __syncthreads();
  if (unit == 0) atomicMax(&most, __float_as_int(own));
  __syncthreads();
  const float all = __int_as_float(most);
  store_codes<kDim>(codes + chunk * kChunkKeys * kDim, row, unit, x, all > 0 ? kMostInt8 / all : 0);
  if (threadIdx.x == 0) scales[chunk] = all / kMostInt8;
}

/// A CTA a chunk of 32 keys, a thread 16 of them in one channel; blockIdx.y is the KV head. The keys of a half chunk
/// are in the order in which a thread of wgmma holds their scores, which are its weights then: position 4 t + j is key
/// 8 (j / 2) + 2 t + j mod 2.
template <class T, int kDim>
__global__ void __launch_bounds__(2 * kDim)
    round_values_kernel(const T* v, int kv_len, const float* mean, const float* scales, char* codes) {
  const int half = threadIdx.x / kDim, channel = threadIdx.x % kDim, head = blockIdx.y;
  const std::size_t chunk = std::size_t(head) * gridDim.x + blockIdx.x;
  const int first = blockIdx.x * kChunkKeys + 16 * half;
  const T* const from = v + (std::size_t(head) * kv_len + first) * kDim + channel;
  const float center = mean[head * kDim + channel], inverse = 1 / scales[head * kDim + channel];
  const auto value = [&](int key) { return first + key < kv_len ? (float(from[key * kDim]) - center) * inverse : 0; };
  const auto two = [&](int key) {
    return std::uint32_t(__nv_cvt_float2_to_fp8x2(float2{value(key), value(key + 1)}, __NV_SATFINITE, __NV_E4M3));
  };
  std::uint32_t words[4];
#pragma unroll
  for (int t = 0; t < 4; ++t) words[t] = two(2 * t) | two(8 + 2 * t) << 16;
  reinterpret_cast<uint4*>(codes)[(chunk * 2 + half) * kDim + channel] = {words[0], words[1], words[2], words[3]};
}

/// Turns the largest |value - mean| of channels into their scales; what has no reciprocal in float32 is rounded to 0.
__global__ void value_scales_kernel(float* deviation, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) deviation[i] = deviation[i] > FLT_MIN * kMostE4m3 ? deviation[i] / kMostE4m3 : 1;
}

/// Where the parts of the workspace are.
struct Parts {
  int q_rows, chunks;
  char *q, *k, *v;
  float *q_scale, *lse_shift, *k_scale, *k_mean, *v_scale, *v_mean;
  void* stats;
  std::size_t bytes;

  Parts(const Shape& s, Operands operands, void* base)
      : q_rows(ceil_div(s.q_len, kRowMultiple) * kRowMultiple), chunks(ceil_div(s.kv_len, kChunkKeys)) {
    const std::size_t rows = std::size_t(s.q_heads) * q_rows, all_chunks = std::size_t(s.kv_heads) * chunks;
    const std::size_t channels = std::size_t(s.kv_heads) * s.head_dim, values = operands == Operands::fp8;
    WorkspaceCursor cursor(base);
    q = cursor.take<char>(rows * s.head_dim), q_scale = cursor.take<float>(rows), lse_shift = cursor.take<float>(rows);
    k = cursor.take<char>(all_chunks * kChunkKeys * s.head_dim), k_scale = cursor.take<float>(all_chunks);
    v = cursor.take<char>(values * all_chunks * kChunkKeys * s.head_dim);
    k_mean = cursor.take<float>(channels), v_mean = cursor.take<float>(channels);
    v_scale = cursor.take<float>(channels);
    stats = cursor.take<char>(channel_stats_bytes(s.kv_heads, s.kv_len, s.head_dim));
    bytes = cursor.used();
  }
};

template <class T, int kDim>
void round_values(const DeviceProblem& p, const Parts& parts, Stream stream) {
  const Shape& s = p.shape;
  channel_stats(p.v, p.dtype, s.kv_heads, s.kv_len, kDim, parts.stats, {parts.v_mean, nullptr, parts.v_scale}, stream);
  value_scales_kernel<<<ceil_div(s.kv_heads * kDim, 256), 256, 0, stream>>>(parts.v_scale, s.kv_heads * kDim);
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
  round_values_kernel<T, kDim><<<dim3(parts.chunks, s.kv_heads), 2 * kDim, 0, stream>>>(
      static_cast<const T*>(p.v), s.kv_len, parts.v_mean, parts.v_scale, parts.v);
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
}

}  // namespace

std::size_t low_bit_bytes(const Shape& shape, Operands operands) {
  return Parts(shape, operands, nullptr).bytes;
}

LowBitProblem round_operands(const DeviceProblem& p, Operands operands, void* workspace, Stream stream) {
  const Shape& s = p.shape;
  require(why_unsupported(s, p.scale));
  const Parts parts(s, operands, workspace);
  channel_stats(p.k, p.dtype, s.kv_heads, s.kv_len, s.head_dim, parts.stats, {parts.k_mean}, stream);
  dispatch(p.dtype, s.head_dim, [&](auto type, auto dim) {
    using T = decltype(type);
    round_keys_kernel<T, dim><<<dim3(parts.chunks, s.kv_heads), kChunkKeys * kRowLanes<dim>, 0, stream>>>(
        static_cast<const T*>(p.k), s.kv_len, parts.k_mean, parts.k, parts.k_scale);
    SALEBENCH_CUDA_CHECK(cudaGetLastError());
    round_queries_kernel<T, dim><<<dim3(parts.q_rows * kRowLanes<dim> / kThreads, s.q_heads), kThreads, 0, stream>>>(
        static_cast<const T*>(p.q), s.q_len, parts.q_rows, s.group(), parts.k_mean, p.scale, parts.q, parts.q_scale,
        parts.lse_shift);
    SALEBENCH_CUDA_CHECK(cudaGetLastError());
    if (operands == Operands::fp8) round_values<T, dim>(p, parts, stream);
  });
  return {.operands = operands,
          .q_rows = parts.q_rows,
          .chunks = parts.chunks,
          .q = parts.q,
          .q_scale = parts.q_scale,
          .lse_shift = parts.lse_shift,
          .k = parts.k,
          .k_scale = parts.k_scale,
          .v = parts.v,
          .v_scale = parts.v_scale,
          .v_mean = parts.v_mean};
}

}  // namespace salebench::cuda
