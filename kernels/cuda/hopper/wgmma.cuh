// PTX wrappers for the products of warpgroups on Hopper: d [64 x N] += a [64 x 16] b [16 x N], with b in shared memory
// and a there or in registers. Thread t of the group holds rows 16 (t / 32) + t mod 32 / 4 and that + 8 of d, columns 8
// n + 2 (t mod 4) + c: element 4 n + 2 h + c for half h. The same layout, two n at a time, is that of a. Sources: PTX
// ISA, "wgmma.mma_async"; its section on matrix descriptors.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

namespace salebench::cuda {

/// Before the first product that reads registers which other code wrote.
__device__ inline void fence_products() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ inline void commit_products() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/// Waits until at most kPending of the committed groups are under way.
template <int kPending>
__device__ inline void wait_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}
/// Keeps the order of what computes the registers, waits, and what reads them: the compiler moves neither over a
/// settle().
template <int kCount>
__device__ inline void settle(float (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

template <int kCount>
__device__ inline void settle(int (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+r"(d[i])::"memory");
}
template <int kCount>
__device__ inline void settle(std::uint32_t (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+r"(d[i])::"memory");
}

/// A matrix in shared memory with 128-byte swizzle, as units of 8 rows x 128 bytes that start at multiples of 1024
/// bytes. `across` is the distance between units side by side, `down` between those one under the other, in bytes.
__device__ inline std::uint64_t matrix_descriptor(std::uint32_t address, int across, int down) {
  return std::uint64_t(address >> 4) | std::uint64_t(across >> 4) << 16 | std::uint64_t(down >> 4) << 32 |
         std::uint64_t(1) << 62;
}
/// The same with 64-byte swizzle, as units of 8 rows x 64 bytes one behind the other, from a multiple of 512 bytes on.
__device__ inline std::uint64_t narrow_matrix_descriptor(std::uint32_t address) {
  return std::uint64_t(address >> 4) | std::uint64_t(512 >> 4) << 32 | std::uint64_t(2) << 62;
}
/// Of rows of 64 or 128 bytes one behind the other, as map_byte_rows() has them in shared memory.
template <int kRowBytes>
__device__ inline std::uint64_t rows_descriptor(std::uint32_t address) {
  static_assert(kRowBytes == 64 || kRowBytes == 128);
  return kRowBytes == 64 ? narrow_matrix_descriptor(address) : matrix_descriptor(address, 0, 1024);
}
/// Without swizzle: units of 8 rows x 16 bytes, `across` from one to the one at its side, 128 bytes to the one below.
__device__ inline std::uint64_t plain_matrix_descriptor(std::uint32_t address, int across) {
  return std::uint64_t(address >> 4) | std::uint64_t(across >> 4) << 16 | std::uint64_t(128 >> 4) << 32;
}
/// The descriptor of a matrix that starts so many bytes later.
__device__ inline std::uint64_t moved(std::uint64_t descriptor, int bytes) {
  return (descriptor >> 32 << 32) | std::uint32_t(std::uint32_t(descriptor) + (bytes >> 4));
}

// The operands of an instruction with 32 or 64 results a thread.
#define SALEBENCH_D8(c, d, i) \
  c(d[i]), c(d[i + 1]), c(d[i + 2]), c(d[i + 3]), c(d[i + 4]), c(d[i + 5]), c(d[i + 6]), c(d[i + 7])
#define SALEBENCH_D32(c, d, i) \
  SALEBENCH_D8(c, d, i), SALEBENCH_D8(c, d, i + 8), SALEBENCH_D8(c, d, i + 16), SALEBENCH_D8(c, d, i + 24)
#define SALEBENCH_D32_NAMES                                                                                         \
  "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, " \
  "%24, %25, "                                                                                                      \
  "%26, %27, %28, %29, %30, %31}, "
#define SALEBENCH_D64_NAMES                                                                                         \
  "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, " \
  "%24, %25, "                                                                                                      \
  "%26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "  \
  "%48, %49, "                                                                                                      \
  "%50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "

/// d = a b, or d += a b where kAdd, both in shared memory, with the 16 contiguous.
template <class T, bool kAdd>
__device__ inline void multiply_group(float (&d)[64], std::uint64_t a, std::uint64_t b) {
  if constexpr (std::is_same_v<T, __half>)
    asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 " SALEBENCH_D64_NAMES "%64, %65, %66, 1, 1, 0, 0;"
                 : SALEBENCH_D32("+f", d, 0), SALEBENCH_D32("+f", d, 32)
                 : "l"(a), "l"(b), "n"(kAdd));
  else
    asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 " SALEBENCH_D64_NAMES
                 "%64, %65, %66, 1, 1, 0, 0;"
                 : SALEBENCH_D32("+f", d, 0), SALEBENCH_D32("+f", d, 32)
                 : "l"(a), "l"(b), "n"(kAdd));
}

template <class T, bool kAdd>
__device__ inline void multiply_group(float (&d)[32], std::uint64_t a, std::uint64_t b) {
  if constexpr (std::is_same_v<T, __half>)
    asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 " SALEBENCH_D32_NAMES "%32, %33, %34, 1, 1, 0, 0;"
                 : SALEBENCH_D32("+f", d, 0)
                 : "l"(a), "l"(b), "n"(kAdd));
  else
    asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 " SALEBENCH_D32_NAMES
                 "%32, %33, %34, 1, 1, 0, 0;"
                 : SALEBENCH_D32("+f", d, 0)
                 : "l"(a), "l"(b), "n"(kAdd));
}

/// d += a b with a in registers. b is [16, N] with its 16 contiguous in memory if not kTransposed, else its N.
template <class T, bool kTransposed>
__device__ inline void multiply_group(float (&d)[64], const std::uint32_t (&a)[4], std::uint64_t b) {
  if constexpr (std::is_same_v<T, __half>)
    asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 " SALEBENCH_D64_NAMES
                 "{%64, %65, %66, %67}, %68, 1, 1, 1, %69;"
                 : SALEBENCH_D32("+f", d, 0), SALEBENCH_D32("+f", d, 32)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(kTransposed));
  else
    asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 " SALEBENCH_D64_NAMES
                 "{%64, %65, %66, %67}, %68, 1, 1, 1, %69;"
                 : SALEBENCH_D32("+f", d, 0), SALEBENCH_D32("+f", d, 32)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(kTransposed));
}
template <class T, bool kTransposed>
__device__ inline void multiply_group(float (&d)[32], const std::uint32_t (&a)[4], std::uint64_t b) {
  if constexpr (std::is_same_v<T, __half>)
    asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 " SALEBENCH_D32_NAMES
                 "{%32, %33, %34, %35}, %36, 1, 1, 1, %37;"
                 : SALEBENCH_D32("+f", d, 0)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(kTransposed));
  else
    asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 " SALEBENCH_D32_NAMES
                 "{%32, %33, %34, %35}, %36, 1, 1, 1, %37;"
                 : SALEBENCH_D32("+f", d, 0)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(kTransposed));
}

/// d = a b, or d += a b where kAdd, of e4m3 [64 x 32] and [32 x 128] with the 32 contiguous in shared memory. Element 2
/// n + h of d holds columns 8 n + 2 (t mod 4) and the next as fp16.
template <bool kAdd>
__device__ inline void multiply_fp8_group(std::uint32_t (&d)[32], std::uint64_t a, std::uint64_t b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n128k32.f16.e4m3.e4m3 " SALEBENCH_D32_NAMES "%32, %33, %34, 1, 1;"
               : SALEBENCH_D32("+r", d, 0)
               : "l"(a), "l"(b), "n"(kAdd));
}

/// d = a b, or d += a b where kAdd, of e4m3 [64 x 32] in registers and [32 x N] with the 32 contiguous in shared
/// memory. Word 2 i + h of a holds columns 16 i + 4 (t mod 4) to + 3 of row half h. Sums keep 13 bits beside the
/// largest term.
template <bool kAdd>
__device__ inline void multiply_fp8_group(float (&d)[64], const std::uint32_t (&a)[4], std::uint64_t b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n128k32.f32.e4m3.e4m3 " SALEBENCH_D64_NAMES
               "{%64, %65, %66, %67}, %68, %69, 1, 1;"
               : SALEBENCH_D32("+f", d, 0), SALEBENCH_D32("+f", d, 32)
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(kAdd));
}
template <bool kAdd>
__device__ inline void multiply_fp8_group(float (&d)[32], const std::uint32_t (&a)[4], std::uint64_t b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n64k32.f32.e4m3.e4m3 " SALEBENCH_D32_NAMES
               "{%32, %33, %34, %35}, %36, %37, 1, 1;"
               : SALEBENCH_D32("+f", d, 0)
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(kAdd));
}

/// d = a b, or d += a b where kAdd, of 8-bit integers [64 x 32] and [32 x 128] with the 32 contiguous in shared memory.
template <bool kAdd>
__device__ inline void multiply_int8_group(int (&d)[64], std::uint64_t a, std::uint64_t b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n128k32.s32.s8.s8 " SALEBENCH_D64_NAMES "%64, %65, %66;"
               : SALEBENCH_D32("+r", d, 0), SALEBENCH_D32("+r", d, 32)
               : "l"(a), "l"(b), "n"(kAdd));
}
/// The same with a in registers: word 2 i + h as for e4m3.
template <bool kAdd>
__device__ inline void multiply_int8_group(int (&d)[64], const std::uint32_t (&a)[4], std::uint64_t b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n128k32.s32.s8.s8 " SALEBENCH_D64_NAMES
               "{%64, %65, %66, %67}, %68, %69;"
               : SALEBENCH_D32("+r", d, 0), SALEBENCH_D32("+r", d, 32)
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(kAdd));
}

#undef SALEBENCH_D8
#undef SALEBENCH_D32
#undef SALEBENCH_D32_NAMES
#undef SALEBENCH_D64_NAMES

}  // namespace salebench::cuda
