// SALE's selection; methods/sale/sale.cpp defines it.
#include "kernels/cuda/select/sale.h"
#include "methods/cuda/masked_method.h"

namespace salebench {
namespace {

class SaleOnDevice : public MaskedDeviceMethod {
 public:
  SaleOnDevice(const cuda::SaleSide& side, const cuda::DeviceInputs& inputs)
      : MaskedDeviceMethod(inputs),
        options_(side.options),
        log_thresholds_(side.log_thresholds, nullptr),
        workspace_(cuda::sale_select_bytes(in().problem.shape)) {}
  void select(cuda::Stream stream) override {
    cuda::sale_select(in().problem, options_, log_thresholds_.data(), workspace_.data(), in().mask, stream);
  }

  std::string remark() const override {
    return options_.bits == 4 && !cuda::sale_packs_codes(options_) ? "4-bit codes in 8-bit lanes" : "";
  }

 private:
  cuda::SaleOptions options_;
  cuda::DeviceVector<float> log_thresholds_;
  cuda::DeviceBuffer workspace_;
};

SALEBENCH_DEVICE_SIDE(cuda::SaleSide, SaleOnDevice);

}  // namespace
}  // namespace salebench
