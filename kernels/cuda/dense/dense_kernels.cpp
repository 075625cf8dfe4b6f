// Which dense kernels this build has. The definitions SALEBENCH_HAS_... come from CMake.
#include "kernels/cuda/dense/dense_kernels.h"

#include <stdexcept>

#include "kernels/cuda/dense/dense_builtin.h"

namespace salebench::cuda {
namespace {

std::string names_of(const std::vector<const DenseKernel*>& kernels) {
  std::string text;
  for (const DenseKernel* kernel : kernels) text += (text.empty() ? "" : ", ") + kernel->name();
  return text.empty() ? "none" : text;
}

}  // namespace

const std::vector<const DenseKernel*>& dense_kernels() {
  static const std::vector<const DenseKernel*> kernels = {
#ifdef SALEBENCH_HAS_CUDA
      &our_dense_kernel(),
#endif
#ifdef SALEBENCH_HAS_CUDNN
      &cudnn_dense_kernel(),      &cudnn_fp8_dense_kernel(),
#endif
#ifdef SALEBENCH_HAS_FLASHINFER
      &flashinfer_dense_kernel(),
#endif
#ifdef SALEBENCH_HAS_FA3
      &fa3_dense_kernel(),
#endif
  };
  return kernels;
}

std::vector<MissingDenseKernel> missing_dense_kernels() {
  std::vector<MissingDenseKernel> missing;
#ifndef SALEBENCH_HAS_CUDA
  for (const char* name : {"ours", "cudnn", kCudnnFp8, "flashinfer", "fa3"})
    missing.push_back({name, "build with CUDA"});
#else
#ifndef SALEBENCH_HAS_CUDNN
  for (const char* name : {"cudnn", kCudnnFp8})
    missing.push_back({name, "install cuDNN 9's headers, run scripts/get_cudnn_frontend and configure again"});
#endif
#ifndef SALEBENCH_HAS_FLASHINFER
  missing.push_back({"flashinfer", "run scripts/get_flashinfer and configure again for architecture 90a"});
#endif
#ifndef SALEBENCH_HAS_FA3
  missing.push_back({"fa3",
                     "clone github.com/Dao-AILab/flash-attention with its submodule csrc/cutlass and configure with "
                     "-DSALEBENCH_FA3_DIR=CHECKOUT/hopper for architecture 90a"});
#endif
#endif
  return missing;
}

std::string why_not(const DenseKernel& kernel, const DeviceProblem& p) {
  if (p.sliding_window > 0 && !kernel.takes_sliding_window())
    return "dense kernel " + kernel.name() + " is not called with a sliding window here";
  return kernel.why_not(p.shape, p.causal, p.scale, p.dtype);
}

std::string full_name(const DenseKernel& kernel) {
  const std::string version = kernel.version();
  return version.empty() ? kernel.name() : kernel.name() + " " + version;
}

const DenseKernel& dense_kernel(std::string_view name) {
  for (const DenseKernel* kernel : dense_kernels())
    if (kernel->name() == name) return *kernel;
  for (const MissingDenseKernel& missing : missing_dense_kernels())
    if (missing.name == name)
      throw std::invalid_argument("dense kernel " + missing.name + " is not built in: " + missing.cure);
  throw std::invalid_argument("no dense kernel is called " + std::string(name) + "; there are " +
                              names_of(dense_kernels()));
}

}  // namespace salebench::cuda
