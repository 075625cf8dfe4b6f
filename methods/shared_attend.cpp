// What methods share unless they bring their own. It is declared in core, which may not know the kernels, and so
// defined here.
#include "core/method.h"
#include "kernels/cpu/attention.h"
#include "kernels/cuda/device_method.h"

namespace salebench {

void Method::attend(const HostProblem& problem, ConstMaskView mask, AttentionView out) const {
  cpu::block_sparse_attention(problem, mask, out);
}

void Method::check_backend(Backend backend) const {
  if (backend == Backend::cuda) throw Unsupported("it has no CUDA kernels");
}

std::unique_ptr<cuda::DeviceMethod> Method::on_device(const cuda::DeviceInputs&) const {
  throw Unsupported("it has no CUDA kernels");
}

}  // namespace salebench
