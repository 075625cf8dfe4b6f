// A mask that the CPU makes once, before any timing; each run of the method starts with a copy of it.
#pragma once

#include "core/method.h"
#include "methods/cuda/masked_method.h"

namespace salebench {

class HostMask : public MaskedDeviceMethod {
 public:
  HostMask(const Method& method, const cuda::DeviceInputs& inputs)
      : MaskedDeviceMethod(inputs), selects_(method.has_selection()) {
    BlockMask mask(in().mask.grid, in().mask.heads);
    method.select_fast(in().host, mask.view());
    made_ = cuda::DeviceVector<std::uint32_t>(mask.bits(), nullptr);
  }
  bool has_selection() const override { return false; }
  void select(cuda::Stream stream) override {
    cuda::copy_on_device(in().mask.bits, made_.data(), made_.bytes(), stream);
  }
  std::string selected_on() const override { return selects_ ? "cpu" : ""; }

 private:
  bool selects_;
  cuda::DeviceVector<std::uint32_t> made_;
};

}  // namespace salebench
