// The tiles of a token-exact window, for the methods that have nothing else.
#include "kernels/cuda/select/mask_builders.h"
#include "methods/cuda/masked_method.h"

namespace salebench {
namespace {

class WindowTiles : public MaskedDeviceMethod {
 public:
  using MaskedDeviceMethod::MaskedDeviceMethod;
  void select(cuda::Stream stream) override { cuda::window_mask(in().mask, stream); }
};

SALEBENCH_DEVICE_SIDE(cuda::WindowSide, WindowTiles);

}  // namespace
}  // namespace salebench
