// The selection of pooled SALE; methods/sale/sale_pooled.cpp defines it. On devices other than Hopper, the CPU's masks.
#include "kernels/cuda/select/sale_pooled.h"
#include "kernels/cuda/hopper/hopper_here.h"
#include "methods/cuda/masked_method.h"

namespace salebench {
namespace {

class SalePooledOnDevice : public MaskedDeviceMethod {
 public:
  SalePooledOnDevice(const cuda::SalePooledSide& side, const cuda::DeviceInputs& inputs)
      : MaskedDeviceMethod(inputs), selection_(side, in().problem, in().mask.grid) {}
  static bool runs_here(const cuda::SalePooledSide&) { return !cuda::why_no_hopper(); }
  void select(cuda::Stream stream) override { selection_.run(in().mask, stream); }

 private:
  cuda::PooledSelection selection_;
};

SALEBENCH_DEVICE_SIDE(cuda::SalePooledSide, SalePooledOnDevice);

}  // namespace
}  // namespace salebench
