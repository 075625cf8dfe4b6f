#include "kernels/cuda/attention/attention_launch.cuh"

namespace salebench::cuda {

template void launch_attention<__half>(const AttentionArgs&, int, bool, int, Stream);

}  // namespace salebench::cuda
