#include "kernels/cuda/dense/cudnn_library.h"

#include <dlfcn.h>

#include <stdexcept>

namespace cudnn_frontend {
void* cudnn_dlhandle = nullptr;  // the frontend leaves its definition to the program
}  // namespace cudnn_frontend

namespace salebench::cuda {
namespace {

constexpr std::size_t kOldest = 90600;                   // the first whose bottom-right causality takes any length
constexpr std::size_t kFaulty = 91000, kMended = 91002;  // the frontend refuses attention in between

void check_status(cudnnStatus_t status, const char* what) {
  if (status != CUDNN_STATUS_SUCCESS)
    throw std::runtime_error(std::string("cudnn: ") + what + ": status " + std::to_string(status));
}

/// Both write 9.19.0 as 91900.
std::string version_text(std::size_t version) {
  return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

/// One handle for the process; making one loads cuDNN's kernels.
cudnnHandle_t shared_handle() {
  static const cudnnHandle_t handle = [] {
    cudnnHandle_t made = nullptr;
    check_status(fe::detail::create_handle(&made), "no handle");
    return made;
  }();
  return handle;
}

}  // namespace

const std::string& why_no_cudnn() {
  static const std::string why = []() -> std::string {
    fe::cudnn_dlhandle = dlopen("libcudnn.so.9", RTLD_NOW);
    if (!fe::cudnn_dlhandle) return "libcudnn.so.9 not found; install cuDNN 9 or name its folder in LD_LIBRARY_PATH";
    const std::size_t version = fe::detail::get_backend_version();
    if (version < kOldest) return "cuDNN " + version_text(version) + " is older than 9.6";
    if (version >= kFaulty && version < kMended) return "cuDNN " + version_text(version) + " has faults: take 9.10.2";
    return {};
  }();
  return why;
}

std::string cudnn_versions() {
  const std::string frontend = "frontend " + version_text(CUDNN_FRONTEND_VERSION);
  return why_no_cudnn().empty() ? version_text(fe::detail::get_backend_version()) + " (" + frontend + ")" : frontend;
}

void check_cudnn(fe::error_t status, const char* what) {
  if (status.is_bad()) throw std::runtime_error(std::string("cudnn: ") + what + ": " + status.get_message());
}

fe::graph::Tensor_attributes cudnn_tensor(std::int64_t id, std::int64_t heads, std::int64_t len, std::int64_t dim) {
  return fe::graph::Tensor_attributes()
      .set_uid(id)
      .set_dim({1, heads, len, dim})
      .set_stride({heads * len * dim, len * dim, dim, 1});
}

void CudnnGraph::build() {
  check_cudnn(graph.build(shared_handle(), {fe::HeurMode_t::A}), "no plan");
  std::int64_t bytes = 0;
  check_cudnn(graph.get_workspace_size(bytes), "no plan");
  workspace_bytes = std::size_t(bytes);
}

void CudnnGraph::run(void* workspace, Stream stream) {
  check_status(fe::detail::set_stream(shared_handle(), stream), "no stream");
  check_cudnn(graph.execute(shared_handle(), pointers, workspace), "not launched");
}

}  // namespace salebench::cuda
