// FlashAttention-3's forward kernel behind a plain function. It is a shared library of its own, whose symbols stay
// inside: its CUTLASS is another version than FlashInfer's.
#pragma once

#include "kernels/cuda/attention/attention.h"

namespace salebench::cuda {

struct __attribute__((visibility("default"))) Fa3Half;
struct __attribute__((visibility("default"))) Fa3Bfloat16;

/// Launches the kernel for T (Fa3Half or Fa3Bfloat16). lse must be given; counter is one int of device memory. On an
/// error of CUDA the checkout's own code ends the process. Instantiated in files made from dense_fa3_instance.cu.in.
template <class T, int kHeadDim>
__attribute__((visibility("default"))) void fa3_attention(const DeviceProblem& problem, void* output, float* lse,
                                                          std::int32_t* counter, Stream stream);

}  // namespace salebench::cuda
