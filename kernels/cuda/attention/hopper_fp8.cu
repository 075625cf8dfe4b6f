#include "kernels/cuda/attention/hopper_low_bit.cuh"

namespace salebench::cuda {

void fp8_attention(const HopperArgs& args, Dtype dtype, int head_dim, Stream stream) {
  launch_low_bit<Operands::fp8>(args, dtype, head_dim, stream);
}

}  // namespace salebench::cuda
