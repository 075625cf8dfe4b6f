// FlashInfer's prefill kernel for Hopper as one of the dense kernels: a batch of one "ragged" sequence. Its plan deals
// out query tiles to persistent CTAs, longest first; its log-sum-exp is of base 2 and [q_len, q_heads], so a small
// kernel follows that converts it.
#include <flashinfer/attention/scheduler.cuh>

#include "kernels/cuda/dense/dense_builtin.h"
#include "kernels/cuda/dense/dense_flashinfer.cuh"
#include "kernels/cuda/device/launch.cuh"

namespace salebench::cuda {
namespace {

constexpr int kTile = 32;
constexpr int kMaxTiles = 4096;  // with more a head its plan asks for another kernel, which is not built

int query_tile(int head_dim) {
  return head_dim == 64 ? 192 : 128;
}

/// out [heads, len] = ln(2) * in [len, heads], by tiles through shared memory.
__global__ void convert_lse_kernel(const float* in, float* out, int len, int heads) {
  __shared__ float tile[kTile][kTile + 1];
  const int row0 = blockIdx.x * kTile, head0 = blockIdx.y * kTile;
  for (int r = threadIdx.y; r < kTile; r += blockDim.y)
    if (row0 + r < len && head0 + threadIdx.x < heads)
      tile[r][threadIdx.x] = in[std::size_t(row0 + r) * heads + head0 + threadIdx.x];
  __syncthreads();
  for (int h = threadIdx.y; h < kTile; h += blockDim.y)
    if (head0 + h < heads && row0 + threadIdx.x < len)
      out[std::size_t(head0 + h) * len + row0 + threadIdx.x] = 0.6931471805599453f * tile[threadIdx.x][h];
}

class FlashinferPlan : public DensePlan {
 public:
  FlashinferPlan(const DeviceProblem& p, const DeviceAttention& out) : p_(p), out_(out) {
    const int sms = device_attribute(cudaDevAttrMultiProcessorCount);
    const std::size_t works = std::size_t(p.shape.q_heads) * ceil_div(p.shape.q_len, query_tile(p.shape.head_dim));
    lists_.resize(round_up_bytes(8 * 16 + sizeof(std::int32_t) * (7 * works + sms + 1)));  // each list aligned to 16
  }

  std::size_t workspace_bytes() const override {
    const std::size_t rows = std::size_t(p_.shape.q_heads) * p_.shape.q_len;
    return lists_.size() + (out_.lse ? round_up_bytes(rows * sizeof(float)) : 0);
  }

  void prepare(void* workspace, Stream stream) override {
    const Shape& s = p_.shape;
    std::int32_t q_starts[] = {0, s.q_len}, kv_starts[] = {0, s.kv_len}, kv_lens[] = {s.kv_len};
    flashinfer::PrefillPlanSM90Info info;
    SALEBENCH_CUDA_CHECK(flashinfer::PrefillSM90Plan<std::int32_t>(
        nullptr, 0, workspace, lists_.data(), lists_.size(), info, q_starts, kv_starts, kv_lens, s.q_len, 1, s.q_heads,
        s.kv_heads, s.head_dim, s.head_dim, 1, p_.causal, false, 2, stream));
    const auto at = [&](std::int64_t offset) {
      return reinterpret_cast<std::int32_t*>(static_cast<char*>(workspace) + offset);
    };
    work_ = {at(info.qo_tile_indices_offset), at(info.qo_indptr_offset),    at(info.kv_indptr_offset),
             at(info.qo_len_offset),          at(info.kv_len_offset),       at(info.head_indices_offset),
             at(info.work_indptr_offset),     at(info.batch_indices_offset)};
  }

  void run(void* workspace, Stream stream) override {
    if (!work_.q_tiles) throw std::logic_error("flashinfer: run() before prepare()");
    const Shape& s = p_.shape;
    auto* const lse = out_.lse ? reinterpret_cast<float*>(static_cast<char*>(workspace) + lists_.size()) : nullptr;
    dispatch(p_.dtype, s.head_dim, [&](auto type, auto dim) {
      SALEBENCH_CUDA_CHECK((flashinfer_prefill<decltype(type), dim>(p_, work_, out_.output, lse, stream)));
    });
    if (!lse) return;
    const dim3 grid(ceil_div(s.q_len, kTile), ceil_div(s.q_heads, kTile));
    convert_lse_kernel<<<grid, dim3(kTile, 8), 0, stream>>>(lse, out_.lse, s.q_len, s.q_heads);
    SALEBENCH_CUDA_CHECK(cudaGetLastError());
  }

 private:
  DeviceProblem p_;
  DeviceAttention out_;
  std::vector<char> lists_;  // copied to the start of the workspace
  FlashinferWork work_{};
};

class FlashinferKernel : public DenseKernel {
 public:
  std::string name() const override { return "flashinfer"; }
  std::string version() const override { return SALEBENCH_FLASHINFER_VERSION; }
  std::string why_not(const Shape& shape, bool /*causal*/, float scale, Dtype /*dtype*/) const override {
    if (const char* const why = why_unsupported(shape, scale)) return why;
    const int longest = kMaxTiles * query_tile(shape.head_dim);
    if (shape.q_len > longest) return "it takes at most " + std::to_string(longest) + " queries";
    return why_not_hopper();
  }
  std::unique_ptr<DensePlan> plan(const DeviceProblem& problem, const DeviceAttention& out) const override {
    check_plan(*this, problem, out);
    return std::make_unique<FlashinferPlan>(problem, out);
  }
};

}  // namespace

const DenseKernel& flashinfer_dense_kernel() {
  static const FlashinferKernel kernel;
  return kernel;
}

}  // namespace salebench::cuda
