// The AMX instructions that the kernels use, as inline assembly with memory clobbers: GCC 12's own intrinsics let the
// compiler move ordinary stores past a tile load.
#pragma once

#include <cstdint>

#include "kernels/cpu/amx/support.h"

namespace salebench::cpu {

template <int kTile>
inline void tile_zero() {
  asm volatile("tilezero %%tmm%c0" ::"i"(kTile));
}

/// row_bytes: distance of one row from the next in memory.
template <int kTile>
inline void tile_load(const void* rows, std::int64_t row_bytes = 64) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(rows), "r"(row_bytes), "i"(kTile) : "memory");
}

template <int kTile>
inline void tile_store(void* rows, std::int64_t row_bytes = 64) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(rows), "r"(row_bytes), "i"(kTile) : "memory");
}

/// C += A B with bfloat16 A [16, 32], B [32, 16] as 16 rows of pairs, float32 C [16, 16].
template <int kC, int kA, int kB>
inline void tile_multiply_bf16() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kC), "i"(kA), "i"(kB));
}

/// C += A B with int8 A [16, 64], B [64, 16] as 16 rows of quads, int32 C [16, 16].
template <int kC, int kA, int kB>
inline void tile_multiply_int8() {
  asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kC), "i"(kA), "i"(kB));
}

}  // namespace salebench::cpu
