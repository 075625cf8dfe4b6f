// cuDNN's scaled dot-product attention as one of the dense kernels.
#include "kernels/cuda/dense/cudnn_library.h"

namespace salebench::cuda {
namespace {

enum Tensor : std::int64_t { kQ = 1, kK, kV, kOutput, kLse };

class CudnnPlan : public DensePlan {
 public:
  CudnnPlan(const DeviceProblem& p, const DeviceAttention& out) {
    const auto type = p.dtype == Dtype::fp16 ? fe::DataType_t::HALF : fe::DataType_t::BFLOAT16;
    fe::graph::Graph& graph = attention_.graph;
    graph.set_io_data_type(type)
        .set_intermediate_data_type(fe::DataType_t::FLOAT)
        .set_compute_data_type(fe::DataType_t::FLOAT);
    const Shape& s = p.shape;
    const auto q = graph.tensor(cudnn_tensor(kQ, s.q_heads, s.q_len, s.head_dim));
    const auto k = graph.tensor(cudnn_tensor(kK, s.kv_heads, s.kv_len, s.head_dim));
    const auto v = graph.tensor(cudnn_tensor(kV, s.kv_heads, s.kv_len, s.head_dim));
    fe::graph::SDPA_attributes options;
    options.set_attn_scale(p.scale).set_generate_stats(out.lse != nullptr);
    if (p.causal)
      options.set_diagonal_alignment(fe::DiagonalAlignment_t::BOTTOM_RIGHT).set_diagonal_band_right_bound(0);
    const auto [output, lse] = graph.sdpa(q, k, v, options);
    const auto place = cudnn_tensor(kOutput, s.q_heads, s.q_len, s.head_dim);
    output->set_output(true).set_uid(kOutput).set_dim(place.get_dim()).set_stride(place.get_stride());
    if (out.lse) lse->set_output(true).set_uid(kLse).set_data_type(fe::DataType_t::FLOAT);
    attention_.build();
    attention_.pointers = {{kQ, const_cast<void*>(p.q)},
                           {kK, const_cast<void*>(p.k)},
                           {kV, const_cast<void*>(p.v)},
                           {kOutput, out.output}};
    if (out.lse) attention_.pointers[kLse] = out.lse;
  }

  std::size_t workspace_bytes() const override { return attention_.workspace_bytes; }
  void run(void* workspace, Stream stream) override { attention_.run(workspace, stream); }

 private:
  CudnnGraph attention_;
};

class CudnnKernel : public DenseKernel {
 public:
  std::string name() const override { return "cudnn"; }
  std::string version() const override { return cudnn_versions(); }
  std::string why_not(const Shape& shape, bool /*causal*/, float scale, Dtype /*dtype*/) const override {
    if (const char* const why = why_unsupported(shape, scale)) return why;
    return why_no_cudnn();
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
