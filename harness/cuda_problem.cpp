#include "harness/cuda_problem.h"

#include "core/half.h"
#include "kernels/cpu/mask_recall.h"
#include "kernels/cuda/mask_recall.h"
#include "kernels/cuda/metrics.h"

namespace salebench {
namespace {

std::size_t output_values(const Shape& s) {
  return std::size_t(s.q_heads) * s.q_len * s.head_dim;
}
std::size_t output_rows(const Shape& s) {
  return std::size_t(s.q_heads) * s.q_len;
}

}  // namespace

DeviceTensors::DeviceTensors(const HostProblem& host, cuda::Dtype dtype)
    : q_(host.q.size() * 2), k_(host.k.size() * 2), v_(host.v.size() * 2), problem_{host.shape, host.causal,
                                                                                    host.scale, dtype,
                                                                                    q_.data(),  k_.data(),
                                                                                    v_.data(),  host.sliding_window} {
  upload(host);
}

void DeviceTensors::upload(const HostProblem& host) {
  cuda::upload_as(problem_.dtype, host.q, q_.data(), nullptr);
  cuda::upload_as(problem_.dtype, host.k, k_.data(), nullptr);
  cuda::upload_as(problem_.dtype, host.v, v_.data(), nullptr);
}

DeviceOutput::DeviceOutput(const Shape& shape) : output(output_values(shape) * 2), lse(output_rows(shape)) {}

DeviceTruth::DeviceTruth(const cuda::DeviceProblem& problem)
    : output(output_values(problem.shape)), lse(output_rows(problem.shape)) {
  cuda::exact_attention(problem, {output.data(), lse.data()}, nullptr);
}

ProblemAccuracy measure_on_device(const cuda::DeviceProblem& problem, const DeviceTruth& truth, MaskView mask,
                                  const DeviceOutput& got, std::int64_t extra_pairs) {
  const Shape& shape = problem.shape;
  const cuda::DeviceBuffer workspace(cuda::compare_outputs_bytes(shape));
  const cuda::DeviceVector<ErrorSums> errors(shape.q_heads);
  const cuda::DeviceVector<MaskCounts> counts(shape.q_heads);
  const cuda::DeviceVector<double> recall(output_rows(shape));
  cuda::compare_outputs({shape, problem.dtype, got.output.data(), truth.output.data()}, workspace.data(), errors.data(),
                        nullptr);
  cuda::mask_recall(problem, mask, recall.data(), nullptr);
  cuda::count_masks(mask, counts.data(), nullptr);
  const std::vector<ErrorSums> of_heads = errors.host(nullptr);
  const std::vector<MaskCounts> counts_of_heads = counts.host(nullptr);
  const std::vector<double> of_rows = recall.host(nullptr);
  std::vector<HeadSums> heads(shape.q_heads);
  for (int head = 0; head < shape.q_heads; ++head) {
    const auto rows = std::span(of_rows).subspan(std::size_t(head) * shape.q_len, shape.q_len);
    HeadSums& sums = heads[head];
    sums.head_dim = shape.head_dim;
    sums.counts = counts_of_heads[head], sums.errors = sums.masked = of_heads[head];
    sums.counts.tokens += extra_pairs, sums.counts.executed_tokens += extra_pairs;
    sums.recall.assign(rows.begin(), rows.end());
  }
  return accuracy_of(heads);
}

ProblemAccuracy measure_on_host(const cuda::DeviceProblem& problem, const HostProblem& host, const Truth& truth,
                                const BlockMask& mask, const DeviceOutput& got, std::int64_t extra_pairs) {
  std::vector<std::uint16_t> bits(output_values(problem.shape));
  cuda::copy_to_host(bits.data(), got.output.data(), got.output.bytes(), nullptr);
  std::vector<float> output;
  output.reserve(bits.size());
  for (const std::uint16_t b : bits)
    output.push_back(problem.dtype == cuda::Dtype::fp16 ? half_to_float(b) : bfloat16_to_float(b));
  return measure_accuracy(problem.shape, truth, mask.view(), output,
                          cpu::mask_recall(host, mask.view(), truth.rows, truth.lse), extra_pairs);
}

}  // namespace salebench
