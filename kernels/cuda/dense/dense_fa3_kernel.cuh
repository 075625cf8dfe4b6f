// FlashAttention-3's forward kernel from a checkout, called with our layout [heads, len, head_dim]. Its own launch
// function compiles every feature; this one takes the kernel without any.
#pragma once

#include <flash_fwd_launch_template.h>

#include <algorithm>
#include <type_traits>

#include "kernels/cuda/dense/dense_fa3.h"
#include "kernels/cuda/device/launch.cuh"

namespace salebench::cuda {

inline Flash_fwd_params fa3_params(const DeviceProblem& p, void* output, float* lse, std::int32_t* counter) {
  const Shape& s = p.shape;
  Flash_fwd_params params{};
  params.q_ptr = const_cast<void*>(p.q), params.k_ptr = const_cast<void*>(p.k), params.v_ptr = const_cast<void*>(p.v);
  params.o_ptr = output, params.softmax_lse_ptr = lse;
  params.q_row_stride = params.k_row_stride = params.v_row_stride = params.o_row_stride = s.head_dim;
  params.q_head_stride = params.o_head_stride = std::int64_t(s.q_len) * s.head_dim;
  params.k_head_stride = params.v_head_stride = std::int64_t(s.kv_len) * s.head_dim;
  params.q_batch_stride = params.o_batch_stride = s.q_heads * params.q_head_stride;
  params.k_batch_stride = params.v_batch_stride = s.kv_heads * params.k_head_stride;
  params.v_dim_stride = 1;
  params.b = params.b_k = 1;
  params.h = s.q_heads, params.h_k = s.kv_heads;
  params.seqlen_q = s.q_len, params.seqlen_k = s.kv_len;
  params.d = params.dv = params.d_rounded = params.dv_rounded = s.head_dim;
  params.scale_softmax = p.scale;
  params.is_bf16 = p.dtype == Dtype::bf16;
  params.is_causal = p.causal;
  params.window_size_left = s.kv_len - 1, params.window_size_right = p.causal ? 0 : s.q_len - 1;
  params.num_splits = 1;
  params.tile_count_semaphore = counter;
  params.arch = 90;
  params.num_sm = device_attribute(cudaDevAttrMultiProcessorCount);
  return params;
}

template <class T, int kHeadDim>
void fa3_attention(const DeviceProblem& p, void* output, float* lse, std::int32_t* counter, Stream stream) {
  using Element = std::conditional_t<std::is_same_v<T, Fa3Half>, cutlass::half_t, cutlass::bfloat16_t>;
  Flash_fwd_params params = fa3_params(p, output, lse, counter);
  const auto launch = [&](auto causal, auto cluster) {
    run_flash_fwd<90, kHeadDim, kHeadDim, cluster, Element, Element, causal, false, false, false, false, false, false,
                  false, false, false>(params, stream);
  };
  using One = std::integral_constant<int, 1>;
  if (p.causal) {
    SALEBENCH_CUDA_CHECK(cudaMemsetAsync(counter, 0, sizeof(*counter), stream));  // CTAs draw their tiles from it
    return launch(std::true_type(), One());
  }
  if constexpr (kHeadDim == 128)  // two CTAs share K and V where the rows make pairs of tiles, as its launcher does
    if (ceil_div(p.shape.q_len, 128) % 2 == 0) return launch(std::false_type(), std::integral_constant<int, 2>());
  launch(std::false_type(), One());
}

}  // namespace salebench::cuda
