#include "kernels/cpu/amx/support.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xmmintrin.h>

#include <cstdint>

namespace salebench::cpu {
namespace {

bool processor_has_amx() {
  constexpr unsigned kAvx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;  // F, DQ, BW, VL: bits of ebx
  constexpr unsigned kAmx = 1u << 22 | 1u << 24 | 1u << 25;                // bf16, tile, int8: bits of edx
  constexpr unsigned kOsxsave = 1u << 27;                                  // bit of leaf 1's ecx
  constexpr std::uint64_t kSavedState = 0xe6 | 0x3u << 17;                 // vectors, masks and tiles
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & kOsxsave)) return false;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (b & kAvx512) != kAvx512 || (d & kAmx) != kAmx) return false;
  unsigned low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return ((std::uint64_t(high) << 32 | low) & kSavedState) == kSavedState;
}

/// Linux lets a process use tile registers only after it has asked once.
bool kernel_permits_tiles() {
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

}  // namespace

bool amx_available() {
  static const bool available = processor_has_amx() && kernel_permits_tiles();
  return available;
}

TileScope::TileScope() : float_mode_(_mm_getcsr()) {
  struct alignas(64) {
    std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
    std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } const config;
  asm volatile("ldtilecfg %0" ::"m"(config) : "memory");
  constexpr unsigned kFlushToZero = 0x8000, kZeroInputs = 0x40;
  _mm_setcsr(float_mode_ | kFlushToZero | kZeroInputs);
}

TileScope::~TileScope() {
  asm volatile("tilerelease" ::: "memory");
  _mm_setcsr(float_mode_);
}

}  // namespace salebench::cpu
