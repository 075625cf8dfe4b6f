// Rounding of whole tensors to e4m3 with one scale each, as cuDNN's FP8 attention takes them.
#pragma once

#include "kernels/cuda/device/device_problem.h"

namespace salebench::cuda {

/// A tensor's largest |value| by the largest of e4m3, and its inverse; 1 for a tensor of zeros. On the device.
struct TensorScale {
  float scale, inverse;
};

/// Rounds count values, a multiple of 8, to codes: value = code * scale. `most` is one word of scratch.
void round_tensor(const void* values, Dtype dtype, std::size_t count, std::uint32_t* most, char* codes,
                  TensorScale* scale, Stream stream);

/// values = codes * scale, count of them, a multiple of 8.
void widen_tensor(const char* codes, const TensorScale* scale, Dtype dtype, std::size_t count, void* values,
                  Stream stream);

}  // namespace salebench::cuda
