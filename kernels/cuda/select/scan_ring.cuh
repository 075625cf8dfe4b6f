// The barriers of a CTA that scans on Hopper: those of a ring of tiles of keys.
#pragma once

#include "kernels/cuda/attention/mma.cuh"
#include "kernels/cuda/hopper/barrier.cuh"

namespace salebench::cuda {

template <int kSlots>
struct ScanRing {
  std::uint64_t full[kSlots], empty[kSlots];

  __device__ static Barrier barrier(const std::uint64_t& b) { return {shared_address(&b)}; }
  __device__ void init(int consumer_warps) {
    for (int i = 0; i < kSlots; ++i) barrier(full[i]).init(1), barrier(empty[i]).init(consumer_warps * kWarpArrivals);
    publish_barriers();
  }

  /// Of the producer: waits until the next slot is free, and says how many bytes it will hold.
  __device__ Barrier fill(const RingPlace<kSlots>& place, int bytes) const {
    barrier(empty[place.slot]).wait(place.parity ^ 1);
    const Barrier filled = barrier(full[place.slot]);
    filled.arrive_expecting(bytes);
    return filled;
  }
  /// Of a consumer: the next slot, once it is full.
  __device__ int take(RingPlace<kSlots>& place) const {
    const int slot = place.slot;
    barrier(full[slot]).wait(place.parity);
    place.advance();
    return slot;
  }
  /// A warp is done with the slot.
  __device__ void release(int slot) const { barrier(empty[slot]).arrive_for_warp(); }
};

}  // namespace salebench::cuda
