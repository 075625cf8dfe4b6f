#include "kernels/cuda/attention/attention_launch.cuh"

namespace salebench::cuda {

template void launch_attention<__nv_bfloat16>(const AttentionArgs&, int, bool, int, Stream);

}  // namespace salebench::cuda
