// cuDNN's scaled dot-product attention as one of the dense kernels. The library is loaded when first asked for, so
// that a program built with it starts where it is missing.
#define NV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING
#define CUDNN_FRONTEND_SKIP_JSON_LIB
#include <cudnn_frontend.h>
#include <dlfcn.h>

#include <stdexcept>
#include <unordered_map>

#include "kernels/cuda/dense/dense_builtin.h"

namespace cudnn_frontend {
void* cudnn_dlhandle = nullptr;  // the frontend leaves its definition to the program
}  // namespace cudnn_frontend

namespace salebench::cuda {
namespace {

namespace fe = cudnn_frontend;

constexpr std::size_t kOldest = 90600;  // the first whose bottom-right causality takes any length

enum Tensor : std::int64_t { kQ = 1, kK, kV, kOutput, kLse };

void check(fe::error_t status, const char* what) {
  if (status.is_bad()) throw std::runtime_error(std::string("cudnn: ") + what + ": " + status.get_message());
}
void check(cudnnStatus_t status, const char* what) {
  if (status != CUDNN_STATUS_SUCCESS)
    throw std::runtime_error(std::string("cudnn: ") + what + ": status " + std::to_string(status));
}

/// Both write 9.19.0 as 91900.
std::string version_text(std::size_t version) {
  return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

/// Loads the library once a process; the reason if it can't be used.
const std::string& why_no_library() {
  static const std::string why = []() -> std::string {
    fe::cudnn_dlhandle = dlopen("libcudnn.so.9", RTLD_NOW);
    if (!fe::cudnn_dlhandle) return "libcudnn.so.9 not found; install cuDNN 9 or name its folder in LD_LIBRARY_PATH";
    const std::size_t version = fe::detail::get_backend_version();
    if (version < kOldest) return "cuDNN " + version_text(version) + " is older than 9.6";
    return {};
  }();
  return why;
}

/// One handle for the process; making one loads cuDNN's kernels.
cudnnHandle_t shared_handle() {
  static const cudnnHandle_t handle = [] {
    cudnnHandle_t made = nullptr;
    check(fe::detail::create_handle(&made), "no handle");
    return made;
  }();
  return handle;
}

/// Shape and strides of [heads, len, dim] as cuDNN's [1, heads, len, dim].
fe::graph::Tensor_attributes tensor(Tensor id, std::int64_t heads, std::int64_t len, std::int64_t dim) {
  return fe::graph::Tensor_attributes()
      .set_uid(id)
      .set_dim({1, heads, len, dim})
      .set_stride({heads * len * dim, len * dim, dim, 1});
}

class CudnnPlan : public DensePlan {
 public:
  CudnnPlan(const DeviceProblem& p, const DeviceAttention& out) {
    const auto type = p.dtype == Dtype::fp16 ? fe::DataType_t::HALF : fe::DataType_t::BFLOAT16;
    graph_.set_io_data_type(type)
        .set_intermediate_data_type(fe::DataType_t::FLOAT)
        .set_compute_data_type(fe::DataType_t::FLOAT);
    const Shape& s = p.shape;
    const auto q = graph_.tensor(tensor(kQ, s.q_heads, s.q_len, s.head_dim));
    const auto k = graph_.tensor(tensor(kK, s.kv_heads, s.kv_len, s.head_dim));
    const auto v = graph_.tensor(tensor(kV, s.kv_heads, s.kv_len, s.head_dim));
    fe::graph::SDPA_attributes options;
    options.set_attn_scale(p.scale).set_generate_stats(out.lse != nullptr);
    if (p.causal)
      options.set_diagonal_alignment(fe::DiagonalAlignment_t::BOTTOM_RIGHT).set_diagonal_band_right_bound(0);
    const auto [output, lse] = graph_.sdpa(q, k, v, options);
    const auto place = tensor(kOutput, s.q_heads, s.q_len, s.head_dim);
    output->set_output(true).set_uid(kOutput).set_dim(place.get_dim()).set_stride(place.get_stride());
    if (out.lse) lse->set_output(true).set_uid(kLse).set_data_type(fe::DataType_t::FLOAT);
    check(graph_.build(shared_handle(), {fe::HeurMode_t::A}), "no plan");
    check(graph_.get_workspace_size(workspace_bytes_), "no plan");
    pointers_ = {{kQ, const_cast<void*>(p.q)},
                 {kK, const_cast<void*>(p.k)},
                 {kV, const_cast<void*>(p.v)},
                 {kOutput, out.output}};
    if (out.lse) pointers_[kLse] = out.lse;
  }

  std::size_t workspace_bytes() const override { return std::size_t(workspace_bytes_); }

  void run(void* workspace, Stream stream) override {
    check(fe::detail::set_stream(shared_handle(), stream), "no stream");
    check(graph_.execute(shared_handle(), pointers_, workspace), "not launched");
  }

 private:
  fe::graph::Graph graph_;
  std::int64_t workspace_bytes_ = 0;
  std::unordered_map<std::int64_t, void*> pointers_;
};

class CudnnKernel : public DenseKernel {
 public:
  std::string name() const override { return "cudnn"; }
  std::string version() const override {
    std::string text = "frontend " + version_text(CUDNN_FRONTEND_VERSION);
    if (why_no_library().empty()) text = version_text(fe::detail::get_backend_version()) + " (" + text + ")";
    return text;
  }
  std::string why_not(const Shape& shape, bool /*causal*/, float scale, Dtype /*dtype*/) const override {
    if (const char* const why = why_unsupported(shape, scale)) return why;
    return why_no_library();
  }
  std::unique_ptr<DensePlan> plan(const DeviceProblem& problem, const DeviceAttention& out) const override {
    check_plan(*this, problem, out);
    return std::make_unique<CudnnPlan>(problem, out);
  }
};

}  // namespace

const DenseKernel& cudnn_dense_kernel() {
  static const CudnnKernel kernel;
  return kernel;
}

}  // namespace salebench::cuda
