// cuDNN as its two dense kernels share it. The library is loaded when first asked for, so that a program built with it
// starts where it is missing.
#pragma once

#define NV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING
#define CUDNN_FRONTEND_SKIP_JSON_LIB
#include <cudnn_frontend.h>

#include <string>
#include <unordered_map>

#include "kernels/cuda/dense/dense_builtin.h"

namespace salebench::cuda {

namespace fe = cudnn_frontend;

/// Loads the library once a process; the reason if it can't be used.
const std::string& why_no_cudnn();

/// Versions of library and frontend; the library's is left out where it can't be loaded.
std::string cudnn_versions();

/// Throws std::runtime_error that names what failed.
void check_cudnn(fe::error_t status, const char* what);

/// Shape and strides of [heads, len, dim] as cuDNN's [1, heads, len, dim].
fe::graph::Tensor_attributes cudnn_tensor(std::int64_t id, std::int64_t heads, std::int64_t len, std::int64_t dim);

/// A graph of one attention with the pointers of its tensors.
struct CudnnGraph {
  fe::graph::Graph graph;
  std::unordered_map<std::int64_t, void*> pointers;
  std::size_t workspace_bytes = 0;

  /// When the graph has all its tensors. Throws std::runtime_error if cuDNN has no kernel for it.
  void build();
  void run(void* workspace, Stream stream);
};

}  // namespace salebench::cuda
