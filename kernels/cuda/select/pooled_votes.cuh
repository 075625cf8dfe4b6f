// What a thread of a warpgroup makes of the scores of 64 stacked rows against 128 pooled keys, as the products leave
// them: fp16 pairs of e4m3 operands, or floats of fp16 ones (kernels/cuda/hopper/wgmma.cuh). A chunk is 32 keys before
// pooling, so a tile has 4 kPool of them.
#pragma once

#include <cuda_fp16.h>

#include <cstdint>

namespace salebench::cuda {

__device__ inline std::uint32_t bits_of(__half2 x) {
  return *reinterpret_cast<const std::uint32_t*>(&x);
}
__device__ inline __half2 pair_of(std::uint32_t bits) {
  return *reinterpret_cast<const __half2*>(&bits);
}

/// Score max. Bit c of the result says whether some product of chunk c reaches the limit of its row.
template <int kPool>
__device__ inline unsigned reached_chunks(const std::uint32_t (&s)[32], const float (&limits)[2]) {
  constexpr int kChunks = 4 * kPool, kColumns = 4 / kPool;  // chunks of a tile, columns of eight keys a chunk
  const __half2 limit[2] = {__float2half2_rn(limits[0]), __float2half2_rn(limits[1])};
  std::uint32_t below = 0;  // chunk c at bits 16 - kChunks + c and 32 - kChunks + c, for the two keys of a pair
#pragma unroll
  for (int c = 0; c < kChunks; ++c) {
    std::uint32_t signs = ~0u;  // of products less limits: set if all lie below
#pragma unroll
    for (int n = c * kColumns; n < (c + 1) * kColumns; ++n)
      signs &= bits_of(__hsub2(pair_of(s[2 * n]), limit[0])) & bits_of(__hsub2(pair_of(s[2 * n + 1]), limit[1]));
    below = below >> 1 | (signs & 0x80008000u);
  }
  return (~(below & below >> 16) & 0xffffu) >> (16 - kChunks);
}
template <int kPool>
__device__ inline unsigned reached_chunks(const float (&s)[64], const float (&limits)[2]) {
  constexpr int kChunks = 4 * kPool, kColumns = 4 / kPool;
  std::uint32_t below = 0;
#pragma unroll
  for (int c = kChunks - 1; c >= 0; --c) {
    std::uint32_t signs = ~0u;
#pragma unroll
    for (int i = 4 * c * kColumns; i < 4 * (c + 1) * kColumns; ++i) signs &= __float_as_uint(s[i] - limits[i / 2 % 2]);
    below = __funnelshift_l(signs, below, 1);
  }
  return ~below & ((1u << kChunks) - 1);
}

/// 2^x of pairs by the bits of fp16: x becomes exponent and mantissa, of which 5 bits are right, as if 2^x were linear
/// between powers of two; the shift by kBias makes that at most 3.1 % off, either way. Below 2^-15 it is 0, from 2^15.9
/// on constant. Takes a row's scores as (x + 15 - kBias) / kRange, in [0, 1].
struct PairExponential {
  static constexpr float kRange = 30.9f, kBias = 0.0613f;

  __device__ static float factor(float of_score) { return of_score / kRange; }
  __device__ static float offset(float of_score) { return (15 - kBias - of_score) / kRange; }
  __device__ static __half2 of(__half2 x) {
    // 2 + 1.9313 x has ten bits of mantissa, of which five are to be the exponent; the lower half's overflow into the
    // upper one is lost in its last bits.
    return pair_of(bits_of(__hfma2(x, __float2half2_rn(kRange / 16), __float2half2_rn(2.0f))) << 5);
  }
};

/// Score mass. Sums of the thread's exponentials by chunk, two chunks a pair: chunk 2 i in the lower half of sums[i].
template <int kPool>
__device__ inline void sum_chunks(const std::uint32_t (&s)[32], const float (&factors)[2], const float (&offsets)[2],
                                  std::uint32_t (&sums)[2 * kPool]) {
  constexpr int kColumns = 4 / kPool;
  const __half2 factor[2] = {__float2half2_rn(factors[0]), __float2half2_rn(factors[1])};
  const __half2 offset[2] = {__float2half2_rn(offsets[0]), __float2half2_rn(offsets[1])};
#pragma unroll
  for (int i = 0; i < 2 * kPool; ++i) {
    __half2 sum[2] = {};  // of a chunk, apart for even and odd keys
#pragma unroll
    for (int c = 0; c < 2; ++c)
#pragma unroll
      for (int n = (2 * i + c) * kColumns; n < (2 * i + c + 1) * kColumns; ++n) {
        const __half2 two = __hadd2(PairExponential::of(__hfma2_sat(pair_of(s[2 * n]), factor[0], offset[0])),
                                    PairExponential::of(__hfma2_sat(pair_of(s[2 * n + 1]), factor[1], offset[1])));
        sum[c] = n == (2 * i + c) * kColumns ? two : __hadd2(sum[c], two);
      }
    sums[i] = bits_of(__hadd2(__lows2half2(sum[0], sum[1]), __highs2half2(sum[0], sum[1])));
  }
}
template <int kPool>
__device__ inline void sum_chunks(const float (&s)[64], const float (&factors)[2], const float (&offsets)[2],
                                  std::uint32_t (&sums)[2 * kPool]) {
  constexpr int kColumns = 4 / kPool;
#pragma unroll
  for (int i = 0; i < 2 * kPool; ++i) {
    __half2 sum[2] = {};
#pragma unroll
    for (int c = 0; c < 2; ++c)
#pragma unroll
      for (int at = 4 * (2 * i + c) * kColumns; at < 4 * (2 * i + c + 1) * kColumns; at += 2) {
        const int h = at / 2 % 2;
        const __half2 x = __floats2half2_rn(__saturatef(fmaf(s[at], factors[h], offsets[h])),
                                            __saturatef(fmaf(s[at + 1], factors[h], offsets[h])));
        sum[c] = __hadd2(sum[c], PairExponential::of(x));
      }
    sums[i] = bits_of(__hadd2(__lows2half2(sum[0], sum[1]), __highs2half2(sum[0], sum[1])));
  }
}

/// Sums over the lanes of a warp. Lane l ends with pair l / (16 / kPool) in sums[0]. Pairs are bits here, as a choice
/// between two __half2 is one between addresses to the compiler.
template <int kLeft, int kStep = 16, int kPairs>
__device__ inline void sum_over_lanes(std::uint32_t (&sums)[kPairs]) {
  if constexpr (kLeft > 1) {  // a lane goes on with half of them
    const bool upper = threadIdx.x & kStep;
#pragma unroll
    for (int i = 0; i < kLeft / 2; ++i) {
      const std::uint32_t low = sums[i], high = sums[i + kLeft / 2];
      const std::uint32_t other = __shfl_xor_sync(~0u, upper ? low : high, kStep);
      sums[i] = bits_of(__hadd2(pair_of(upper ? high : low), pair_of(other)));
    }
    sum_over_lanes<kLeft / 2, kStep / 2>(sums);
  } else if constexpr (kStep > 0) {
    sums[0] = bits_of(__hadd2(pair_of(sums[0]), pair_of(__shfl_xor_sync(~0u, sums[0], kStep))));
    sum_over_lanes<1, kStep / 2>(sums);
  }
}

}  // namespace salebench::cuda
