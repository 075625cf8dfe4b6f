// The dense kernels that a build can have, each behind its own file. dense_kernels() lists those that it does have.
#pragma once

#include "kernels/cuda/dense/dense_kernels.h"

namespace salebench::cuda {

const DenseKernel& our_dense_kernel();         // dense_ours.cpp
const DenseKernel& cudnn_dense_kernel();       // dense_cudnn.cpp
const DenseKernel& cudnn_fp8_dense_kernel();   // dense_cudnn_fp8.cpp
const DenseKernel& flashinfer_dense_kernel();  // dense_flashinfer.cu
const DenseKernel& fa3_dense_kernel();         // dense_fa3.cpp

/// Why a kernel for Hopper alone can't run on the current device; empty if it can.
std::string why_not_hopper();

/// The part of DenseKernel::plan() that all share. Throws std::invalid_argument.
void check_plan(const DenseKernel& kernel, const DeviceProblem& problem, const DeviceAttention& out);

}  // namespace salebench::cuda
