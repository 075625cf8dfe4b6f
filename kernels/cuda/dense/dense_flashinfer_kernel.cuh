// FlashInfer's ragged prefill on Hopper, called with our layout [heads, len, head_dim].
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <flashinfer/attention/hopper/default_params.cuh>
#include <flashinfer/attention/hopper/prefill_sm90.cuh>
#include <flashinfer/attention/hopper/variants.cuh>
#include <flashinfer/cutlass_utils.cuh>

#include "kernels/cuda/dense/dense_flashinfer.cuh"

namespace salebench::cuda {

template <class T, int kHeadDim>
cudaError_t flashinfer_prefill(const DeviceProblem& p, const FlashinferWork& work, void* output, float* lse,
                               Stream stream) {
  using Element = flashinfer::cutlass_dtype_t<T>;
  using Params = flashinfer::BatchPrefillRaggedParams<Element, Element, Element, std::int32_t>;
  const auto pointer = [](const void* at) { return static_cast<Element*>(const_cast<void*>(at)); };
  const Shape& s = p.shape;
  Params params{};
  params.q_ptr = pointer(p.q), params.k_ptr = pointer(p.k), params.v_ptr = pointer(p.v);
  params.o_ptr = pointer(output), params.lse_ptr = lse;
  params.qo_tile_indices = work.q_tiles, params.qo_indptr = work.q_starts, params.kv_indptr = work.kv_starts;
  params.qo_lens = work.q_lens, params.kv_lens = work.kv_lens, params.head_indices = work.heads;
  params.work_indptr = work.work_starts, params.batch_indices = work.batches;
  params.additional_params.sm_scale = p.scale;
  params.q_stride_n = params.k_stride_n = params.v_stride_n = params.o_stride_n = kHeadDim;
  params.q_stride_h = params.o_stride_h = std::int64_t(s.q_len) * kHeadDim;
  params.k_stride_h = params.v_stride_h = std::int64_t(s.kv_len) * kHeadDim;
  params.nnz_qo = s.q_len, params.nnz_kv = s.kv_len;
  params.num_qo_heads = s.q_heads, params.num_kv_heads = s.kv_heads, params.group_size = s.group();
  params.window_left = -1;
  params.causal = p.causal;
  using flashinfer::MaskMode;
  using Variant = flashinfer::StandardAttention;
  if (p.causal)
    return flashinfer::BatchPrefillWithRaggedKVCacheDispatched<kHeadDim, kHeadDim, MaskMode::kCausal, false, false,
                                                               Variant>(params, false, stream);
  return flashinfer::BatchPrefillWithRaggedKVCacheDispatched<kHeadDim, kHeadDim, MaskMode::kNone, false, false,
                                                             Variant>(params, false, stream);
}

}  // namespace salebench::cuda
