// The AMX instructions that the kernels use, as inline assembly with memory clobbers: GCC 12's own intrinsics let the
// compiler move ordinary stores past a tile load. All tiles are 16 rows of 64 bytes.
#pragma once

#include <cstdint>

#if defined(__x86_64__) && defined(__linux__)
#include <xmmintrin.h>
#endif

namespace salebench::cpu {

inline constexpr int kTileBytes = 1024;

#if defined(__x86_64__) && defined(__linux__)

/// Holds the calling thread's tile registers configured, and float arithmetic without subnormal numbers: the tiles know
/// none, and in vectors each would cost over a hundred cycles.
class TileScope {
 public:
  TileScope() {
    struct alignas(64) {
      std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
      std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } const config;
    asm volatile("ldtilecfg %0" ::"m"(config) : "memory");
    constexpr unsigned kFlushToZero = 0x8000, kZeroInputs = 0x40;
    _mm_setcsr(float_mode_ | kFlushToZero | kZeroInputs);
  }
  ~TileScope() {
    asm volatile("tilerelease" ::: "memory");
    _mm_setcsr(float_mode_);
  }
  TileScope(const TileScope&) = delete;
  TileScope& operator=(const TileScope&) = delete;

 private:
  unsigned float_mode_ = _mm_getcsr();
};

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

#endif

}  // namespace salebench::cpu
