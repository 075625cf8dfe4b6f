// Dense attention by our own kernel or another's. Its mask, every causal tile, is made for the counts only.
#include "kernels/cuda/dense_kernels.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/mask_builders.h"
#include "methods/on_device.h"

namespace salebench {
namespace {

class DenseOnDevice : public cuda::DeviceMethod {
 public:
  DenseOnDevice(const std::string& kernel, const cuda::DeviceInputs& in)
      : in_(in), plan_(plan_of(kernel, in)), workspace_(plan_->workspace_bytes()) {
    plan_->prepare(workspace_.data(), nullptr);
  }
  bool has_selection() const override { return false; }
  void select(cuda::Stream stream) override { cuda::causal_mask(in_.mask, stream); }
  bool has_index() const override { return false; }
  void index(cuda::Stream) override {}
  void attend(cuda::Stream stream) override { plan_->run(workspace_.data(), stream); }

 private:
  static std::unique_ptr<cuda::DensePlan> plan_of(const std::string& name, const cuda::DeviceInputs& in) {
    const cuda::DenseKernel& kernel = cuda::dense_kernel(name);
    const cuda::DeviceProblem& p = in.problem;
    if (const std::string why = cuda::why_not(kernel, p); !why.empty()) throw Unsupported(why);
    return kernel.plan(p, in.out);
  }

  cuda::DeviceInputs in_;
  std::unique_ptr<cuda::DensePlan> plan_;
  cuda::DeviceBuffer workspace_;
};

}  // namespace

BoundMethod dense_on_device(const std::string& kernel, const cuda::DeviceInputs& in) {
  return std::make_unique<DenseOnDevice>(kernel, in);
}

}  // namespace salebench
