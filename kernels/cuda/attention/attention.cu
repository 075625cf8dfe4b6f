#include "kernels/cuda/attention/attention.h"

#include <cstdlib>

#include "kernels/cuda/attention/attention_kernel.cuh"
#include "kernels/cuda/attention/block_index.cuh"
#include "kernels/cuda/attention/hopper.h"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/hopper/hopper_here.h"

namespace salebench::cuda {
namespace {

constexpr int kDenseRows = 128;

void require_supported(const DeviceProblem& p) {
  require(why_unsupported(p.shape, p.scale));
  require(p.shape.kv_len > kMaxKeys ? "at most 2097120 keys fit 16-bit chunk numbers" : nullptr);
}

AttentionArgs make_args(const DeviceProblem& p, const BlockGrid& grid, const DeviceAttention& out) {
  require_supported(p);
  return {
      p.q, p.k, p.v, out.output, out.lse, DeviceGrid(grid), p.shape.group(), p.scale * 1.4426950409f, ListLayout(grid)};
}

void launch_portable(const DeviceProblem& p, const AttentionArgs& args, bool exact, Stream stream) {
  const int items = p.shape.q_heads * args.grid.q_blocks;
  if (p.dtype == Dtype::fp16)
    launch_attention<__half>(args, p.shape.head_dim, exact, items, stream);
  else
    launch_attention<__nv_bfloat16>(args, p.shape.head_dim, exact, items, stream);
}

}  // namespace

const char* why_not(AttentionKernel kernel) {
  return kernel == AttentionKernel::hopper ? why_no_hopper() : nullptr;
}

AttentionKernel fastest_kernel() {
  if (const char* const name = std::getenv("SALEBENCH_ATTENTION")) {
    if (name == to_string(AttentionKernel::portable)) return AttentionKernel::portable;
    if (name != to_string(AttentionKernel::hopper))
      throw std::invalid_argument(std::string("SALEBENCH_ATTENTION is '") + name + "'; there are hopper and portable");
  }
  return why_not(AttentionKernel::hopper) ? AttentionKernel::portable : AttentionKernel::hopper;
}

std::string to_string(AttentionKernel kernel) {
  return kernel == AttentionKernel::hopper ? "hopper" : "portable";
}

BlockGrid dense_grid(const DeviceProblem& p) {
  return {{kDenseRows, kStepKeys}, p.shape.q_len, p.shape.kv_len, p.causal, std::nullopt, p.sliding_window};
}

void dense_attention(const DeviceProblem& p, const DeviceAttention& out, void* scratch, Stream stream) {
  block_sparse_attention(p, all_keys(p, scratch), out, stream);
}

BlockIndex all_keys(const DeviceProblem& p, void* scratch) {
  BlockIndex all{.grid = dense_grid(p), .heads = p.shape.q_heads};
  all.scratch = scratch;
  return all;
}

void low_bit_attention(const DeviceProblem& p, const LowBitProblem& operands, const BlockIndex& index,
                       const DeviceAttention& out, Stream stream) {
  require_supported(p);
  require(why_not(AttentionKernel::hopper));
  hopper_attention(p, operands, index, out, stream);
}

void exact_attention(const DeviceProblem& p, const DeviceAttention& out, Stream stream) {
  launch_portable(p, make_args(p, dense_grid(p), out), true, stream);
}

void block_sparse_attention(const DeviceProblem& p, const BlockIndex& index, const DeviceAttention& out,
                            Stream stream) {
  block_sparse_attention(p, index, out, fastest_kernel(), stream);
}

void block_sparse_attention(const DeviceProblem& p, const BlockIndex& index, const DeviceAttention& out,
                            AttentionKernel kernel, Stream stream) {
  AttentionArgs args = make_args(p, index.grid, out);
  require(why_not(kernel));
  if (kernel == AttentionKernel::hopper) {
    hopper_attention(p, {}, index, out, stream);
    return;
  }
  args.chunks = index.chunks, args.counts = index.counts, args.order = index.order;
  args.head_stride = index.head_stride;
  launch_portable(p, args, false, stream);
}

}  // namespace salebench::cuda
