// What the kernels that scan SALE's codes share.
#pragma once

#include "kernels/cuda/select/sale.cuh"

namespace salebench::cuda {

// Adding this to a float of less than 2^22 leaves its rounded value in the low bits: rint(x) is then the bits minus
// kMagicBits, without a slow conversion.
constexpr float kMagic = 12582912.0f;
constexpr int kMagicBits = 0x4b400000;
constexpr float kMagicRange = 2097152.0f;  // 2^21, as 128 products of codes add at most as much again

struct CodeScanArgs {
  const std::int8_t *q, *k;
  const float *q_scale, *k_scale, *bias, *limit;
  const int* bias_most;
  std::uint32_t* bits;
  DeviceGrid grid;
  int group, key_room, local_blocks, row_groups;
};

/// The scan of codes of 8 bits on Hopper's tensor cores.
void sale_scan_hopper(const DeviceProblem& p, const CodeScanArgs& args, Stream stream);

}  // namespace salebench::cuda
