// Dense attention kernels to compare against: our own and those of others, where they are built in. Each is called the
// same way, so that a speed-up can be quoted over the fastest one. docs/cuda_kernels.md says how to get the others.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/cuda/attention/attention.h"

namespace salebench::cuda {

/// A kernel made ready for one problem and one place of its results. It keeps their pointers.
class DensePlan {
 public:
  virtual ~DensePlan() = default;

  /// Bytes of device memory (256-byte aligned) that prepare() and run() need; 0 if none.
  virtual std::size_t workspace_bytes() const { return 0; }

  /// Writes to the workspace what depends on sizes alone. Once before the first run(), outside of what is timed; it may
  /// copy from the host. The workspace must stay untouched from then on.
  virtual void prepare(void* /*workspace*/, Stream /*stream*/) {}

  /// Only launches: no allocation, no copy, no host synchronisation. Throws std::runtime_error if a launch fails.
  virtual void run(void* workspace, Stream stream) = 0;

  /// Whether run() starts with rounding the operands to 8 bits and ends with widening the output.
  virtual bool rounds() const { return false; }

  /// run() without those two, on what its last call rounded.
  virtual void run_rounded(void* workspace, Stream stream) { run(workspace, stream); }
};

/// The one dense kernel that is not exact: it attends from e4m3 with one scale a tensor.
inline constexpr const char* kCudnnFp8 = "cudnn_fp8";

/// A dense kernel. All but kCudnnFp8 write exact softmax attention with causality aligned to the last token (query row
/// i sits at position kv_len - q_len + i), and the natural log-sum-exp.
class DenseKernel {
 public:
  virtual ~DenseKernel() = default;

  /// What configs and results call it: "ours", "cudnn", "cudnn_fp8", "flashinfer" or "fa3".
  virtual std::string name() const = 0;

  /// Version of the code that runs, such as "9.19.0 (frontend 1.32.0)"; empty for ours.
  virtual std::string version() const = 0;

  /// Why it can't do such a problem on the current device; empty if it can.
  virtual std::string why_not(const Shape& shape, bool causal, float scale, Dtype dtype) const = 0;

  /// Whether it keeps to a sliding window.
  virtual bool takes_sliding_window() const { return false; }

  /// Does all work of the host. out.output must be given; out.lse may be null. Throws std::invalid_argument where
  /// why_not() has a reason, std::runtime_error if the kernel's library refuses.
  virtual std::unique_ptr<DensePlan> plan(const DeviceProblem& problem, const DeviceAttention& out) const = 0;
};

/// Why the kernel can't do the problem on the current device; empty if it can.
std::string why_not(const DenseKernel& kernel, const DeviceProblem& problem);

/// Name and version, as results name it: "cudnn 9.19.0 (frontend 1.32.0)".
std::string full_name(const DenseKernel& kernel);

/// The kernels that are built in, fixed in order: ours, cudnn, cudnn_fp8, flashinfer, fa3. Empty in a build without
/// CUDA.
const std::vector<const DenseKernel*>& dense_kernels();

/// A known kernel that this build lacks, and what to do about it.
struct MissingDenseKernel {
  std::string name, cure;
};
std::vector<MissingDenseKernel> missing_dense_kernels();

/// A kernel by its name. Throws std::invalid_argument that says how to get one that is not built in, or names those
/// that are known.
const DenseKernel& dense_kernel(std::string_view name);

/// The device side of `dense`.
struct DenseSide {
  std::string kernel;
  bool low_bit = false;  ///< from 8-bit operands, which our kernel alone takes
};

}  // namespace salebench::cuda
