// A mask that the CPU makes once, before any timing; each run of the method starts with a copy of it.
#include "methods/cuda/masked_method.h"
#include "methods/on_device.h"

namespace salebench {
namespace {

class HostMask : public MaskedDeviceMethod {
 public:
  HostMask(const Method& method, const cuda::DeviceInputs& inputs) : MaskedDeviceMethod(inputs) {
    BlockMask mask(in().mask.grid, in().mask.heads);
    method.select_fast(in().host, mask.view());
    made_ = cuda::DeviceVector<std::uint32_t>(mask.bits(), nullptr);
  }
  bool has_selection() const override { return false; }
  void select(cuda::Stream stream) override {
    cuda::copy_on_device(in().mask.bits, made_.data(), made_.bytes(), stream);
  }

 private:
  cuda::DeviceVector<std::uint32_t> made_;
};

}  // namespace

BoundMethod host_mask_on_device(const Method& method, const cuda::DeviceInputs& in) {
  return std::make_unique<HostMask>(method, in);
}

}  // namespace salebench
