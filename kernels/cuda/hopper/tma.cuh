// PTX wrappers for Hopper's tensor copies (TMA): a box of a tensor from global to shared memory, whose bytes a barrier
// counts. What lies outside the tensor arrives as zeros. Source: PTX ISA, "cp.async.bulk.tensor".
#pragma once

#include <cuda.h>

#include "kernels/cuda/hopper/barrier.cuh"

namespace salebench::cuda {

__device__ inline void copy_box(std::uint32_t to, const CUtensorMap& map, Barrier full, int x0, int x1, int x2, int x3,
                                int x4) {
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6, %7}], "
      "[%2];" ::"r"(to),
      "l"(&map), "r"(full.address), "r"(x0), "r"(x1), "r"(x2), "r"(x3), "r"(x4)
      : "memory");
}
__device__ inline void copy_box(std::uint32_t to, const CUtensorMap& map, Barrier full, int x0, int x1, int x2,
                                int x3) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], "
      "[%2];" ::"r"(to),
      "l"(&map), "r"(full.address), "r"(x0), "r"(x1), "r"(x2), "r"(x3)
      : "memory");
}

/// Bytes one behind the other; both addresses and the count are multiples of 16.
__device__ inline void copy_bytes(std::uint32_t to, const void* from, int bytes, Barrier full) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to),
               "l"(from), "r"(bytes), "r"(full.address)
               : "memory");
}

}  // namespace salebench::cuda
