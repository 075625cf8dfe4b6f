// Attention on the device, dense and over block masks, with log-sum-exp: a FlashAttention-2 style kernel on mma.sync
// and cp.async that runs on any chip from sm_80 on. It takes any lengths with q_len <= kv_len, causal or not, GQA,
// head_dim 64 and 128. Sources: FlashAttention-2 (arXiv 2307.08691).
#pragma once

#include "kernels/cuda/attention/block_index.h"
#include "kernels/cuda/device/device_problem.h"

namespace salebench::cuda {

/// All keys a row may see.
void dense_attention(const DeviceProblem& problem, const DeviceAttention& out, Stream stream);

/// The visible keys of kept tiles.
void block_sparse_attention(const DeviceProblem& problem, const BlockIndex& index, const DeviceAttention& out,
                            Stream stream);

/// Dense, for truths: weights keep 16 (bf16) or 22 (fp16) bits instead of 8 or 11 for the product with V, and the
/// output is float32. Takes about 1.5 times as long.
void exact_attention(const DeviceProblem& problem, const DeviceAttention& out, Stream stream);

}  // namespace salebench::cuda
