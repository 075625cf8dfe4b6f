// What FlashInfer's plan hands to its kernels.
#pragma once

#include <cuda_runtime.h>

#include "kernels/cuda/device/device_problem.h"

namespace salebench::cuda {

/// Lists of work on the device, one entry a query tile of a head (work_starts: one a CTA, and the end).
struct FlashinferWork {
  std::int32_t *q_tiles, *q_starts, *kv_starts, *q_lens, *kv_lens, *heads, *work_starts, *batches;
};

/// Launches the ragged prefill kernel for T (__half or __nv_bfloat16) on a batch of one. lse is [q_len, q_heads] of
/// base 2, or null. Instantiated in files made from dense_flashinfer_instance.cu.in.
template <class T, int kHeadDim>
cudaError_t flashinfer_prefill(const DeviceProblem& problem, const FlashinferWork& work, void* output, float* lse,
                               Stream stream);

}  // namespace salebench::cuda
