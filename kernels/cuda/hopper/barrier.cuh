// PTX wrappers for roles within a CTA on Hopper: barriers in shared memory that count arrivals and bytes, and the
// split of the registers. Source: PTX ISA, "Asynchronous barriers".
#pragma once

#include <cstdint>

namespace salebench::cuda {

constexpr int kGroupThreads = 128;  ///< threads of a warpgroup

/// One lane of a converged warp, the same on each call. Code that only it runs is known to ptxas to be scalar, which a
/// comparison of threadIdx is not: that would put a loop over lanes around each bulk copy.
__device__ inline bool is_elected() {
  std::uint32_t elected;
  asm volatile("{ .reg .pred p; elect.sync _|p, 0xffffffff; selp.u32 %0, 1, 0, p; }" : "=r"(elected));
  return elected != 0;
}

template <int kRegisters>
__device__ inline void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ inline void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

/// Arrivals of a warp at a barrier. compute-sanitizer's racecheck does not know that what a lane did before
/// __syncwarp() comes before what another one does after it: for racecheck all lanes arrive.
#if defined(SALEBENCH_RACECHECK)
constexpr int kWarpArrivals = 32;
#else
constexpr int kWarpArrivals = 1;
#endif

/// A barrier in shared memory, by its address. Its phase ends when all arrivals are in and all expected bytes.
struct Barrier {
  std::uint32_t address;

  __device__ void init(int arrivals) const {
    asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(address), "r"(arrivals) : "memory");
  }
  __device__ void arrive() const { asm volatile("mbarrier.arrive.shared.b64 _, [%0];" ::"r"(address) : "memory"); }
  /// Arrives kWarpArrivals times for a warp, after all that its lanes did before; all of them call it. Where not
  /// `really`, the same in all lanes, it does not.
  __device__ void arrive_for_warp(bool really = true) const {
    __syncwarp();
    const int lane = threadIdx.x % 32;
    if (really && lane < kWarpArrivals) arrive();
  }
  /// Arrives, and makes the phase wait for that many bytes of bulk copies.
  __device__ void arrive_expecting(int bytes) const {
    asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(address), "r"(bytes) : "memory");
  }
  /// Waits for the end of the phase with this parity. Before the first phase has ended, parity 1 does not wait.
  __device__ void wait(int parity) const {
    asm volatile(
        "{ .reg .pred done;\n"
        "again: mbarrier.try_wait.parity.shared.b64 done, [%0], %1;\n"
        "@!done bra again; }" ::"r"(address),
        "r"(parity)
        : "memory");
  }
};

/// A condition that all lanes agree on. Branches on it leave registers uniform, as slots and descriptors must be: a
/// shuffle that makes them so waits for its turn at the shared memory, which products keep busy.
__device__ inline bool agreed(bool condition) {
  return __any_sync(~0u, condition);
}

/// Whether some thread of a warpgroup says so, by the named barrier `id`: where all of it must go one way.
__device__ inline bool any_of_group(bool mine, int id) {
  int any;
  asm volatile(
      "{ .reg .pred mine, any; setp.ne.s32 mine, %1, 0;\n"
      "barrier.cta.red.or.pred any, %2, 128, mine;\n"
      "selp.s32 %0, 1, 0, any; }"
      : "=r"(any)
      : "r"(int(mine)), "r"(id)
      : "memory");
  return any != 0;
}

/// After init(): makes the barriers known to bulk copies.
__device__ inline void publish_barriers() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

/// A place in a ring of kSlots, and the parity of the phase in which a consumer finds it full. A producer waits for the
/// opposite parity of the barrier that says it is empty.
template <int kSlots>
struct RingPlace {
  int slot = 0, parity = 0;

  __device__ void advance() {
    if (++slot == kSlots) slot = 0, parity ^= 1;
  }
};

}  // namespace salebench::cuda
