// What the kernels that scan SALE's codes share.
#pragma once

#include <cfloat>

#include "kernels/cuda/select/sale.cuh"

namespace salebench::cuda {

// Adding this to a float of less than 2^22 leaves its rounded value in the low bits: rint(x) is then the bits minus
// kMagicBits, without a slow conversion.
constexpr float kMagic = 12582912.0f;
constexpr int kMagicBits = 0x4b400000;
constexpr float kMagicRange = 2097152.0f;  // 2^21, as 128 products of codes add at most as much again

/// Where a chunk's 32 biases and a segment's 16 scales lie, so that a lane, which has the keys j of each chunk with (j
/// mod 8) / 2 equal to lane mod 4, finds its own side by side.
__device__ constexpr int bias_place(int key) {
  return key % 8 / 2 * 8 + key / 8 * 2 + key % 2;
}
__device__ constexpr int scale_place(int chunk, int key_group) {
  return chunk / 4 * 16 + key_group * 4 + chunk % 4;
}

/// 1 / q_scale of a row, and its limit / q_scale. With scale 0 all logits are 0.
__device__ inline float inverse_of(float q_scale) {
  return q_scale > 0 ? fminf(1.0f / q_scale, FLT_MAX) : 0.0f;
}
__device__ inline float limit_in(float q_scale, float limit) {
  return q_scale > 0 ? limit / q_scale : limit <= 0 ? -INFINITY : INFINITY;
}

/// rint(bias / q_scale), and the least such number plus q . k that reaches a limit; both with kMagicBits added unless
/// kWide, for biases beyond kMagic's range.
template <bool kWide>
__device__ inline int bias_units(float bias, float q_inverse) {
  return kWide ? __float2int_rn(bias * q_inverse) : __float_as_int(fmaf(bias, q_inverse, kMagic));
}
template <bool kWide>
__device__ inline int least_units(float limit, float k_inverse) {
  return kWide ? __float2int_ru(limit * k_inverse) : __float_as_int(__fmaf_ru(limit, k_inverse, kMagic));
}

struct CodeScanArgs {
  const std::int8_t *q, *k;
  const float *q_scale, *k_inverse, *bias, *group_bias, *limit;
  const int* bias_most;
  std::uint32_t* bits;
  DeviceGrid grid;
  int group, key_room, local_blocks, row_groups;
};

/// The scan of codes of 8 bits on Hopper's tensor cores.
void sale_scan_hopper(const DeviceProblem& p, const CodeScanArgs& args, Stream stream);

}  // namespace salebench::cuda
