// The CUDA sides of methods, by what they select on. Plain declarations, so that a method's file shows what runs on a
// device; methods/cuda/ defines them. In a build without CUDA they throw Unsupported.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/method.h"
#include "kernels/cuda/device_method.h"
#include "kernels/cuda/mask_builders.h"
#include "kernels/cuda/sale.h"

namespace salebench {

using BoundMethod = std::unique_ptr<cuda::DeviceMethod>;

/// The mask that select_fast() makes on the CPU, once and untimed: for masks from files, oracles and controls.
BoundMethod host_mask_on_device(const Method& method, const cuda::DeviceInputs& in);

/// The tiles of the mask's window.
BoundMethod window_on_device(const cuda::DeviceInputs& in);

/// Dense attention by the named kernel.
BoundMethod dense_on_device(const std::string& kernel, const cuda::DeviceInputs& in);

/// SALE; log_thresholds [q_heads], natural, -inf for a dense head.
BoundMethod sale_on_device(const cuda::SaleOptions& options, const std::vector<float>& log_thresholds,
                           const cuda::DeviceInputs& in);

/// The best tiles of each query block by mean-pooled scores; budgets [q_heads].
BoundMethod block_topk_on_device(const std::vector<double>& budgets, cuda::ForcedBlocks forced,
                                 const cuda::DeviceInputs& in);

/// The same by true attention mass, which is made untimed.
BoundMethod oracle_topk_on_device(const std::vector<double>& budgets, cuda::ForcedBlocks forced,
                                  const cuda::DeviceInputs& in);

}  // namespace salebench
