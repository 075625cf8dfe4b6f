// The share of the true attention that a mask keeps, in double precision on the device.
#pragma once

#include "core/block_mask.h"
#include "kernels/cuda/device/device_problem.h"

namespace salebench::cuda {

/// Recall of each query row, recall [q_heads, q_len] in device memory: the sum of exp(logit) over the visible keys that
/// the mask keeps, over that of all visible keys. Both sums are made of the same numbers in the same order, so that a
/// row that keeps all it sees has exactly 1. Definition: reference_recall of core/reference.h.
void mask_recall(const DeviceProblem& problem, MaskView mask, double* recall, Stream stream);

}  // namespace salebench::cuda
