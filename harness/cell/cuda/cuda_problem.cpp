#include "harness/cell/cuda/cuda_problem.h"

#include "core/half.h"
#include "kernels/cpu/mask_recall.h"
#include "kernels/cuda/check/mask_recall.h"
#include "kernels/cuda/check/metrics.h"

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

namespace {

/// Of each head.
std::vector<ErrorSums> errors_of(const cuda::Comparison& comparison) {
  const cuda::DeviceBuffer workspace(cuda::compare_outputs_bytes(comparison.shape));
  const cuda::DeviceVector<ErrorSums> errors(comparison.shape.q_heads);
  cuda::compare_outputs(comparison, workspace.data(), errors.data(), nullptr);
  return errors.host(nullptr);
}

std::vector<float> values_of(const cuda::DeviceProblem& p, const DeviceOutput& got) {
  std::vector<std::uint16_t> bits(output_values(p.shape));
  cuda::copy_to_host(bits.data(), got.output.data(), got.output.bytes(), nullptr);
  std::vector<float> output;
  output.reserve(bits.size());
  for (const std::uint16_t b : bits)
    output.push_back(p.dtype == cuda::Dtype::fp16 ? half_to_float(b) : bfloat16_to_float(b));
  return output;
}

}  // namespace

std::vector<HeadSums> sum_on_device(const cuda::DeviceProblem& problem, const DeviceTruth& truth, MaskView mask,
                                    const DeviceOutput& got, const DeviceOutput* exact, std::int64_t extra_pairs) {
  const Shape& shape = problem.shape;
  const cuda::DeviceVector<MaskCounts> counts(shape.q_heads);
  const cuda::DeviceVector<double> recall(output_rows(shape));
  cuda::mask_recall(problem, mask, recall.data(), nullptr);
  cuda::count_masks(mask, counts.data(), nullptr);
  const std::vector<MaskCounts> counts_of_heads = counts.host(nullptr);
  const std::vector<double> of_rows = recall.host(nullptr);
  const auto against_truth = [&](const DeviceOutput& output) {
    return errors_of({shape, problem.dtype, output.output.data(), truth.output.data()});
  };
  const std::vector<ErrorSums> errors = against_truth(got);
  std::vector<ErrorSums> masked, attend;
  if (exact) masked = exact == &got ? errors : against_truth(*exact);
  if (exact && exact != &got) attend = errors_of({shape, problem.dtype, got.output.data(), exact->output.data(), true});
  std::vector<HeadSums> heads(static_cast<std::size_t>(shape.q_heads));
  for (std::size_t head = 0; head < heads.size(); ++head) {
    HeadSums& sums = heads[head];
    const auto rows = std::span(of_rows).subspan(head * shape.q_len, shape.q_len);
    sums.head_dim = shape.head_dim, sums.errors = errors[head], sums.counts = counts_of_heads[head];
    if (exact) sums.masked = masked[head];
    if (!attend.empty()) sums.attend = attend[head];
    sums.counts.tokens += extra_pairs, sums.counts.executed_tokens += extra_pairs;
    sums.recall.assign(rows.begin(), rows.end());
  }
  return heads;
}

std::vector<HeadSums> sum_on_host(const cuda::DeviceProblem& problem, const HostProblem& host, const Truth& truth,
                                  const BlockMask& mask, const DeviceOutput& got, const DeviceOutput* exact,
                                  std::int64_t extra_pairs) {
  const std::vector<float> output = values_of(problem, got);
  const std::vector<float> masked = exact && exact != &got ? values_of(problem, *exact) : std::vector<float>();
  return sum_heads(problem.shape, truth, mask.view(), output, exact == &got ? output : masked,
                   cpu::mask_recall(host, mask.view(), truth.rows, truth.lse), extra_pairs);
}

}  // namespace salebench
