// What the kernels take, known in builds without CUDA too.
#include "kernels/cuda/device/device_problem.h"

namespace salebench::cuda {

const char* why_unsupported(const Shape& shape, float scale) {
  if (shape.head_dim != 64 && shape.head_dim != 128) return "the CUDA kernels take head_dim 64 and 128";
  if (!(scale > 0)) return "the CUDA kernels take a positive scale";
  return nullptr;
}

const char* why_unsupported(const BlockSize& block) {
  if (block.q != 64 && block.q != 128) return "the CUDA kernels take tiles of 64 or 128 query rows";
  if (block.k != 32 && block.k != 64 && block.k != 128) return "the CUDA kernels take tiles of 32, 64 or 128 keys";
  return nullptr;
}

}  // namespace salebench::cuda
