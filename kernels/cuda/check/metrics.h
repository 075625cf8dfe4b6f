// Accuracy and density on the device: sums over the rows of each head, from which core/metrics.h's figures follow.
#pragma once

#include "core/block_mask.h"
#include "core/error_sums.h"
#include "kernels/cuda/device/device_problem.h"

namespace salebench::cuda {

/// What compare_outputs reads, in device memory: `output` [q_heads, q_len, head_dim] in dtype, and the exact one, in
/// float32 or in dtype too.
struct Comparison {
  Shape shape;
  Dtype dtype = Dtype::bf16;
  const void* output = nullptr;
  const void* exact_output = nullptr;
  bool exact_is_rounded = false;  ///< to dtype
};

std::size_t compare_outputs_bytes(const Shape& shape);

/// Writes errors [q_heads], of all rows. The sums are made in a fixed order, so equal inputs give equal results.
void compare_outputs(const Comparison& comparison, void* workspace, ErrorSums* errors, Stream stream);

/// What a mask keeps in each head, counted as in count_mask of core/block_mask.h; counts [heads] in device memory.
void count_masks(MaskView mask, MaskCounts* counts, Stream stream);

}  // namespace salebench::cuda
