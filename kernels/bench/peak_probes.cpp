// What this machine can do at most, so that a kernel's rate can be stated as a share: multiply-adds in float32, int8
// (VNNI), and AMX tiles in bfloat16 and int8. Rates count 2 per multiply-add and are of one thread; run them with
// --benchmark_filter=peak, beside the kernels' cases.
#include <benchmark/benchmark.h>

#include <cstdint>

#include "kernels/cpu/amx/support.h"
#include "kernels/cpu/amx/tile.h"

#if defined(__x86_64__) && defined(__linux__)

namespace salebench {
namespace {

constexpr int kRounds = 1000;

void count_operations(benchmark::State& state, double per_round) {
  state.counters["FLOP/s"] = benchmark::Counter(per_round * kRounds, benchmark::Counter::kIsIterationInvariantRate);
}

// 12 independent chains hide the latency of 4 cycles on 2 ports; 10 links each, so that setting them up costs little.
#define TWELVE(text) text(0) text(1) text(2) text(3) text(4) text(5) text(6) text(7) text(8) text(9) text(10) text(11)
#define LINKS(text) TWELVE(text) TWELVE(text) TWELVE(text) TWELVE(text) TWELVE(text)
#define CHAINS(start, text) TWELVE(start) LINKS(text) LINKS(text)
#define START_512(i) "vbroadcastss %0, %%zmm" #i "\n"
#define START_256(i) "vbroadcastss %0, %%ymm" #i "\n"
#define FMA_512(i) "vfmadd231ps %%zmm12, %%zmm12, %%zmm" #i "\n"
#define FMA_256(i) "vfmadd231ps %%ymm12, %%ymm12, %%ymm" #i "\n"
#define VNNI_512(i) "vpdpbusd %%zmm12, %%zmm12, %%zmm" #i "\n"
#define CLOBBERS \
  "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12"
constexpr float kStart = 0.7f;  // a subnormal number left in a register would cost a hundred cycles

void peak_fma_f32_avx512(benchmark::State& state) {
  if (!__builtin_cpu_supports("avx512f")) return state.SkipWithError("no AVX-512");
  for (auto _ : state)
    for (int i = 0; i < kRounds; ++i) asm volatile(START_512(12) CHAINS(START_512, FMA_512)::"m"(kStart) : CLOBBERS);
  count_operations(state, 120 * 16 * 2);
}

void peak_fma_f32_avx2(benchmark::State& state) {
  if (!__builtin_cpu_supports("fma")) return state.SkipWithError("no FMA");
  for (auto _ : state)
    for (int i = 0; i < kRounds; ++i) asm volatile(START_256(12) CHAINS(START_256, FMA_256)::"m"(kStart) : CLOBBERS);
  count_operations(state, 120 * 8 * 2);
}

void peak_vnni_int8(benchmark::State& state) {
  if (!__builtin_cpu_supports("avx512vnni")) return state.SkipWithError("no AVX-512 VNNI");
  for (auto _ : state)
    for (int i = 0; i < kRounds; ++i) asm volatile(START_512(12) CHAINS(START_512, VNNI_512)::"m"(kStart) : CLOBBERS);
  count_operations(state, 120 * 64 * 2);
}

/// 2 x 2 tiles of sums with their operands loaded from the first cache level each time, as a kernel has to. Values
/// matter: with zeros the processor clocks higher.
template <bool kInt8>
void peak_amx(benchmark::State& state) {
  if (!cpu::amx_available()) return state.SkipWithError("no AMX");
  constexpr int kTiles = 4;
  alignas(64) static std::uint16_t operands[kTiles][cpu::kTileBytes / 2];
  std::uint32_t random = 1;
  for (auto& tile : operands)
    for (std::uint16_t& value : tile) {
      random = random * 1664525u + 1013904223u;
      value = std::uint16_t((random >> 31) << 15 | 0x3f00u | (random >> 16 & 0xffu));  // +-0.5 to 2 in bfloat16
    }
  const cpu::TileScope scope;
  cpu::tile_zero<0>(), cpu::tile_zero<1>(), cpu::tile_zero<2>(), cpu::tile_zero<3>();
  for (auto _ : state)
    for (int i = 0; i < kRounds; ++i) {
      cpu::tile_load<4>(operands[0]), cpu::tile_load<5>(operands[1]);
      cpu::tile_load<6>(operands[2]), cpu::tile_load<7>(operands[3]);
      if constexpr (kInt8) {
        cpu::tile_multiply_int8<0, 4, 6>(), cpu::tile_multiply_int8<1, 4, 7>();
        cpu::tile_multiply_int8<2, 5, 6>(), cpu::tile_multiply_int8<3, 5, 7>();
      } else {
        cpu::tile_multiply_bf16<0, 4, 6>(), cpu::tile_multiply_bf16<1, 4, 7>();
        cpu::tile_multiply_bf16<2, 5, 6>(), cpu::tile_multiply_bf16<3, 5, 7>();
      }
    }
  count_operations(state, 4.0 * 16 * 16 * (kInt8 ? 64 : 32) * 2);
}

BENCHMARK(peak_fma_f32_avx512)->UseRealTime();
BENCHMARK(peak_fma_f32_avx2)->UseRealTime();
BENCHMARK(peak_vnni_int8)->UseRealTime();
BENCHMARK(peak_amx<false>)->Name("peak_amx_bf16")->UseRealTime();
BENCHMARK(peak_amx<true>)->Name("peak_amx_int8")->UseRealTime();

}  // namespace
}  // namespace salebench

#endif
