// cuDNN's FP8 attention as one of the dense kernels: Q, K, V and output as e4m3 with one scale a tensor, so that it is
// not exact. Rounding them and widening the output are a part of it.
#include <array>

#include "kernels/cuda/dense/cudnn_library.h"
#include "kernels/cuda/dense/tensor_scale.h"
#include "kernels/cuda/device/launch.cuh"

namespace salebench::cuda {
namespace {

enum Tensor : std::int64_t {
  kQ = 1,
  kK,
  kV,
  kOutput,
  kLse,
  kQScale,
  kKScale,
  kVScale,
  kWeightInverse,
  kWeightScale,
  kOutputInverse,
  kMostWeight,
  kMostOutput
};

/// Weights are 1 at most; so many times as large they use the range of e4m3, and small ones keep their digits.
constexpr float kWeights = 256;

/// The order of the scales.
enum { kOfQ, kOfK, kOfV, kTensors };

/// What its workspace holds; the output takes V's scale, as it is a mean of values.
struct Parts {
  Parts(const Shape& s, std::size_t graph_bytes, void* workspace) {
    WorkspaceCursor cursor(workspace);
    const std::size_t queries = std::size_t(s.q_heads) * s.q_len * s.head_dim;
    const std::size_t keys = std::size_t(s.kv_heads) * s.kv_len * s.head_dim;
    q = cursor.take<char>(queries), k = cursor.take<char>(keys), v = cursor.take<char>(keys);
    output = cursor.take<char>(queries);
    scales = cursor.take<TensorScale>(kTensors);
    most = cursor.take<std::uint32_t>(kTensors);
    weights = cursor.take<float>(2);
    largest = cursor.take<float>(2);
    graph = cursor.take<char>(graph_bytes);
    bytes = cursor.used();
  }
  char *q, *k, *v, *output, *graph;
  TensorScale* scales;
  std::uint32_t* most;
  float* weights;  ///< kWeights and its inverse
  float* largest;  ///< weight and output, which the graph must be allowed to write
  std::size_t bytes;
};

class CudnnFp8Plan : public DensePlan {
 public:
  CudnnFp8Plan(const DeviceProblem& p, const DeviceAttention& out) : problem_(p), out_(out) {
    fe::graph::Graph& graph = attention_.graph;
    graph.set_io_data_type(fe::DataType_t::FP8_E4M3)
        .set_intermediate_data_type(fe::DataType_t::FLOAT)
        .set_compute_data_type(fe::DataType_t::FLOAT);
    const Shape& s = p.shape;
    const auto input = [&](Tensor id, int heads, int len) {
      return graph.tensor(cudnn_tensor(id, heads, len, s.head_dim));
    };
    const auto number = [&](Tensor id) {
      return graph.tensor(cudnn_tensor(id, 1, 1, 1).set_data_type(fe::DataType_t::FLOAT));
    };
    fe::graph::SDPA_fp8_attributes options;
    options.set_attn_scale(p.scale).set_generate_stats(out.lse != nullptr);
    if (p.causal) options.set_diagonal_alignment(fe::DiagonalAlignment_t::TOP_LEFT).set_diagonal_band_right_bound(0);
    const auto [output, lse, most_weight, most_output] =
        graph.sdpa_fp8(input(kQ, s.q_heads, s.q_len), input(kK, s.kv_heads, s.kv_len), input(kV, s.kv_heads, s.kv_len),
                       number(kQScale), number(kKScale), number(kVScale), number(kWeightInverse), number(kWeightScale),
                       number(kOutputInverse), options);
    const auto place = cudnn_tensor(kOutput, s.q_heads, s.q_len, s.head_dim);
    output->set_output(true).set_uid(kOutput).set_dim(place.get_dim()).set_stride(place.get_stride());
    if (out.lse) lse->set_output(true).set_uid(kLse).set_data_type(fe::DataType_t::FLOAT);
    for (const auto& [tensor, id] : {std::pair(most_weight, kMostWeight), std::pair(most_output, kMostOutput)})
      tensor->set_output(true)
          .set_uid(id)
          .set_dim({1, 1, 1, 1})
          .set_stride({1, 1, 1, 1})
          .set_data_type(fe::DataType_t::FLOAT);
    attention_.build();
  }

  std::size_t workspace_bytes() const override { return parts(nullptr).bytes; }

  void prepare(void* workspace, Stream stream) override {
    const Parts at = parts(workspace);
    static constexpr std::array<float, 2> kBoth = {kWeights, 1 / kWeights};
    SALEBENCH_CUDA_CHECK(cudaMemcpyAsync(at.weights, kBoth.data(), sizeof kBoth, cudaMemcpyHostToDevice, stream));
    attention_.pointers = {{kQ, at.q},
                           {kK, at.k},
                           {kV, at.v},
                           {kOutput, at.output},
                           {kQScale, &at.scales[kOfQ].scale},
                           {kKScale, &at.scales[kOfK].scale},
                           {kVScale, &at.scales[kOfV].scale},
                           {kWeightScale, &at.weights[0]},
                           {kWeightInverse, &at.weights[1]},
                           {kOutputInverse, &at.scales[kOfV].inverse},
                           {kMostWeight, &at.largest[0]},
                           {kMostOutput, &at.largest[1]}};
    if (out_.lse) attention_.pointers[kLse] = out_.lse;
  }

  void run(void* workspace, Stream stream) override {
    const Parts at = parts(workspace);
    const DeviceProblem& p = problem_;
    const std::size_t queries = std::size_t(p.shape.q_heads) * p.shape.q_len * p.shape.head_dim;
    const std::size_t keys = std::size_t(p.shape.kv_heads) * p.shape.kv_len * p.shape.head_dim;
    round_tensor(p.q, p.dtype, queries, &at.most[kOfQ], at.q, &at.scales[kOfQ], stream);
    round_tensor(p.k, p.dtype, keys, &at.most[kOfK], at.k, &at.scales[kOfK], stream);
    round_tensor(p.v, p.dtype, keys, &at.most[kOfV], at.v, &at.scales[kOfV], stream);
    run_rounded(workspace, stream);
    widen_tensor(at.output, &at.scales[kOfV], p.dtype, queries, out_.output, stream);
  }
  bool rounds() const override { return true; }
  void run_rounded(void* workspace, Stream stream) override { attention_.run(parts(workspace).graph, stream); }

 private:
  Parts parts(void* workspace) const { return Parts(problem_.shape, attention_.workspace_bytes, workspace); }

  DeviceProblem problem_;
  DeviceAttention out_;
  CudnnGraph attention_;
};

class CudnnFp8Kernel : public DenseKernel {
 public:
  std::string name() const override { return kCudnnFp8; }
  std::string version() const override { return cudnn_versions(); }
  std::string why_not(const Shape& shape, bool causal, float scale, Dtype /*dtype*/) const override {
    if (const char* const why = why_unsupported(shape, scale)) return why;
    if (const std::string why = why_not_hopper(); !why.empty()) return why;
    if (shape.q_len == 1) return "cuDNN's FP8 attention takes no single query on Hopper";
    if (causal && shape.q_len != shape.kv_len)
      return "cuDNN's FP8 attention has no causality for q_len < kv_len on Hopper";
    return why_no_cudnn();
  }
  std::unique_ptr<DensePlan> plan(const DeviceProblem& problem, const DeviceAttention& out) const override {
    check_plan(*this, problem, out);
    return std::make_unique<CudnnFp8Plan>(problem, out);
  }
};

}  // namespace

const DenseKernel& cudnn_fp8_dense_kernel() {
  static const CudnnFp8Kernel kernel;
  return kernel;
}

}  // namespace salebench::cuda
