#include "kernels/cuda/attention/hopper_low_bit.cuh"

namespace salebench::cuda {

void int8_attention(const HopperArgs& args, Dtype dtype, int head_dim, Stream stream) {
  launch_low_bit<Operands::int8>(args, dtype, head_dim, stream);
}

}  // namespace salebench::cuda
