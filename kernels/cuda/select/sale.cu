#include "kernels/cuda/attention/channel_stats.h"
#include "kernels/cuda/select/sale.cuh"

namespace salebench::cuda {
namespace {

SaleBuffers lay_out(const Shape& s, WorkspaceCursor& w) {
  SaleBuffers b;
  b.key_room = ceil_div(s.kv_len, kScanKeys) * kScanKeys;
  const std::size_t dim = s.head_dim;
  b.stats = w.take<char>(channel_stats_bytes(s.q_heads, s.kv_len, s.head_dim));
  b.q_mean = w.take<float>(s.q_heads * dim);
  b.k_mean = w.take<float>(s.kv_heads * dim);
  b.q = w.take<std::int8_t>(s.q_heads * dim * s.q_len);
  b.k = w.take<std::int8_t>(s.kv_heads * dim * b.key_room);
  b.q_scale = w.take<float>(std::size_t(s.q_heads) * s.q_len);
  b.k_inverse = w.take<float>(std::size_t(s.kv_heads) * b.key_room / kChunkKeys * kKeyGroups);
  b.bias = w.take<float>(std::size_t(s.q_heads) * b.key_room);
  b.group_bias = w.take<float>(std::size_t(s.q_heads) * b.key_room / kChunkKeys * kKeyGroups);
  b.bias_most = w.take<int>(s.q_heads);
  b.limit = w.take<float>(std::size_t(s.q_heads) * s.q_len);
  return b;
}

/// Means of the channels of Q and K, or zeros.
void find_means(const DeviceProblem& p, const SaleOptions& options, const SaleBuffers& b, Stream stream) {
  const auto means_of = [&](const void* x, int heads, int rows, bool smooth, float* mean) {
    if (smooth)
      channel_stats(x, p.dtype, heads, rows, p.shape.head_dim, b.stats, {mean}, stream);
    else
      SALEBENCH_CUDA_CHECK(cudaMemsetAsync(mean, 0, sizeof(float) * heads * p.shape.head_dim, stream));
  };
  means_of(p.k, p.shape.kv_heads, p.shape.kv_len, options.smooth_k, b.k_mean);
  means_of(p.q, p.shape.q_heads, p.shape.q_len, options.smooth_q, b.q_mean);
}

}  // namespace

bool sale_packs_codes(const SaleOptions& options) {
  if (options.bits != 4 || options.int4 == SaleOptions::Int4::in_8_bit_lanes) return false;
  if (options.int4 == SaleOptions::Int4::packed) return true;
  return device_attribute(cudaDevAttrComputeCapabilityMajor) == 8;
}

std::size_t sale_select_bytes(const Shape& shape) {
  WorkspaceCursor workspace(nullptr);
  lay_out(shape, workspace);
  return workspace.used();
}

void sale_select(const DeviceProblem& p, const SaleOptions& options, const float* log_thresholds, void* workspace,
                 MaskView mask, Stream stream) {
  require(why_unsupported(p.shape, p.scale));
  require(p.causal ? nullptr : "sale is defined for causal attention only");
  require(why_unsupported(mask.grid.block));
  require(options.bits == 4 || options.bits == 8 || options.bits == 16 ? nullptr : "sale has 4, 8 or 16 bits");
  WorkspaceCursor cursor(workspace);
  const SaleBuffers b = lay_out(p.shape, cursor);
  const bool codes = options.bits != 16 && !options.all_dense;
  if (codes) {
    find_means(p, options, b, stream);
    sale_quantize(p, options, b, stream);
  }
  sale_reference(p, options, log_thresholds, b, mask, stream);
  if (options.all_dense) return;
  if (codes)
    sale_scan_codes(p, options, b, mask, stream);
  else
    sale_scan_exact(p, options, b, mask, stream);
}

}  // namespace salebench::cuda
