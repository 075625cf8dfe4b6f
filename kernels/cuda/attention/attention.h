// Attention on the device, dense and over block masks, with log-sum-exp. It takes any lengths with q_len <= kv_len,
// causal or not, windows, GQA, head_dim 64 and 128.
#pragma once

#include <string>

#include "kernels/cuda/attention/block_index.h"
#include "kernels/cuda/attention/operands.h"

namespace salebench::cuda {

/// Our kernels: wgmma and TMA, FlashAttention-3 style (hopper_kernel.cuh), and mma.sync and cp.async, FlashAttention-2
/// style, for any chip from sm_80 on (attention_kernel.cuh; arXiv 2307.08691).
enum class AttentionKernel { hopper, portable };

/// Why a kernel can't do this on the current device in this build, null if it can: what each declares of itself.
const char* why_not(AttentionKernel kernel);

/// The fastest kernel that can do it; or the one that the environment variable SALEBENCH_ATTENTION names, where it can.
/// Throws std::invalid_argument for a name that no kernel has.
AttentionKernel fastest_kernel();

/// "hopper" or "portable", as results name it.
std::string to_string(AttentionKernel kernel);

/// The tiles that dense attention walks along.
BlockGrid dense_grid(const DeviceProblem& problem);

/// All keys a row may see. `scratch` has attention_scratch_bytes() for dense_grid(), cleared.
void dense_attention(const DeviceProblem& problem, const DeviceAttention& out, void* scratch, Stream stream);

/// The visible keys of kept tiles.
void block_sparse_attention(const DeviceProblem& problem, const BlockIndex& index, const DeviceAttention& out,
                            Stream stream);
void block_sparse_attention(const DeviceProblem& problem, const BlockIndex& index, const DeviceAttention& out,
                            AttentionKernel kernel, Stream stream);

/// From operands that round_operands() made of the problem, over the index, or dense with all_keys(). Only Hopper's
/// kernel does it: throws std::invalid_argument where why_not() says so of that.
void low_bit_attention(const DeviceProblem& problem, const LowBitProblem& operands, const BlockIndex& index,
                       const DeviceAttention& out, Stream stream);

/// An index without lists, of all keys a row may see; `scratch` as for dense_attention().
BlockIndex all_keys(const DeviceProblem& problem, void* scratch);

/// Dense, for truths, by the portable kernel: weights keep 16 (bf16) or 22 (fp16) bits instead of 8 or 11 for the
/// product with V, and the output is float32. Takes about 1.5 times as long.
void exact_attention(const DeviceProblem& problem, const DeviceAttention& out, Stream stream);

}  // namespace salebench::cuda
