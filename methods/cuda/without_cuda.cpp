// Stands in for the other files of this folder in a build without CUDA.
#include "methods/on_device.h"

namespace salebench {
namespace {

[[noreturn]] void refuse() {
  throw Unsupported("built without CUDA");
}

}  // namespace

BoundMethod host_mask_on_device(const Method&, const cuda::DeviceInputs&) {
  refuse();
}
BoundMethod window_on_device(const cuda::DeviceInputs&) {
  refuse();
}
BoundMethod dense_on_device(const std::string&, const cuda::DeviceInputs&) {
  refuse();
}
BoundMethod sale_on_device(const cuda::SaleOptions&, const std::vector<float>&, const cuda::DeviceInputs&) {
  refuse();
}
BoundMethod block_topk_on_device(const std::vector<double>&, cuda::ForcedBlocks, const cuda::DeviceInputs&) {
  refuse();
}
BoundMethod oracle_topk_on_device(const std::vector<double>&, cuda::ForcedBlocks, const cuda::DeviceInputs&) {
  refuse();
}

}  // namespace salebench
