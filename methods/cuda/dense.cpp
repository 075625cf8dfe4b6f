// Dense attention by our own kernel, also from 8-bit operands, or another's. Its mask, every causal tile, is made for
// the counts only.
#include <stdexcept>

#include "kernels/cuda/dense/dense_kernels.h"
#include "kernels/cuda/device/device_memory.h"
#include "kernels/cuda/select/mask_builders.h"
#include "methods/cuda/device_side.h"
#include "methods/cuda/low_bit.h"

namespace salebench {
namespace {

class DenseOnDevice : public cuda::DeviceMethod {
 public:
  DenseOnDevice(const cuda::DenseSide& side, const cuda::DeviceInputs& in)
      : in_(in), kernel_(side.kernel), plan_(plan_of(side.kernel, in)), workspace_(plan_->workspace_bytes()) {
    plan_->prepare(workspace_.data(), nullptr);
    if (side.low_bit) low_bit_.emplace(in);
  }
  static std::string why_not(const cuda::DenseSide& side) {
    if (side.low_bit && side.kernel != "ours")
      return "kernel " + side.kernel + " has its own arithmetic: attend: int8 and fp8 are of kernel ours";
    try {
      cuda::dense_kernel(side.kernel);
      return {};
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
  }
  std::string selected_on() const override { return {}; }
  bool has_selection() const override { return false; }
  void select(cuda::Stream stream) override { cuda::causal_mask(in_.mask, stream); }
  bool has_index() const override { return false; }
  void index(cuda::Stream) override {}
  void attend(cuda::Stream stream) override {
    if (low_bit_)
      low_bit_->attend(cuda::all_keys(in_.problem, workspace_.data()), stream);
    else
      plan_->run(workspace_.data(), stream);
  }
  std::string attend_kernel() const override {
    if (low_bit_) return low_bit_->kernel();
    return kernel_ == "ours" ? to_string(cuda::fastest_kernel()) : full_name(cuda::dense_kernel(kernel_));
  }

 private:
  static std::unique_ptr<cuda::DensePlan> plan_of(const std::string& name, const cuda::DeviceInputs& in) {
    const cuda::DenseKernel& kernel = cuda::dense_kernel(name);
    const cuda::DeviceProblem& p = in.problem;
    if (const std::string why = cuda::why_not(kernel, p); !why.empty()) throw Unsupported(why);
    return kernel.plan(p, in.out);
  }

  cuda::DeviceInputs in_;
  std::string kernel_;
  std::unique_ptr<cuda::DensePlan> plan_;
  cuda::DeviceBuffer workspace_;
  std::optional<LowBitAttention> low_bit_;
};

SALEBENCH_DEVICE_SIDE(cuda::DenseSide, DenseOnDevice);

}  // namespace
}  // namespace salebench
