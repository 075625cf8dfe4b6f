#!/usr/bin/env bash
# Guess, before running it: racecheck accepts a warp that reads shared memory, meets in __syncwarp() and lets lane 0
# arrive at an mbarrier, after which another warp writes that memory: __syncwarp() orders memory among its lanes, and
# CUTLASS releases its pipelines so.
# Seen with compute-sanitizer 2025.3.1 (CUDA 13.0) on an H200: it reports a race between that write and the reads. What
# a lane did before __syncwarp() counts as ordered only by an arrival of its own: if all lanes arrive, with a count to
# match, nothing is reported.
# Here this matters as kernels with TMA rings look racy to it while they are right: build them so that all lanes arrive
# before asking it.
# Needs a GPU of compute capability 9.0 or later, nvcc and compute-sanitizer of CUDA 13.0; CUDA_HOME names their folder
# (default /usr/local/cuda). Prints what was reported; exits with 1 if it is no longer so.
set -euo pipefail
cuda=${CUDA_HOME:-/usr/local/cuda}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/relay.cu" << 'CUDA'
#include <cstdint>
#include <cstdio>

__device__ std::uint32_t at(const void* p) { return std::uint32_t(__cvta_generic_to_shared(p)); }
__device__ void init(std::uint64_t& b, int arrivals) {
  asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(at(&b)), "r"(arrivals) : "memory");
}
__device__ void arrive(std::uint64_t& b) {
  asm volatile("mbarrier.arrive.shared.b64 _, [%0];" ::"r"(at(&b)) : "memory");
}
__device__ void wait(std::uint64_t& b, int parity) {
  asm volatile(
      "{ .reg .pred done;\n"
      "again: mbarrier.try_wait.parity.shared.b64 done, [%0], %1;\n"
      "@!done bra again; }" ::"r"(at(&b)),
      "r"(parity)
      : "memory");
}

// Thread 0 hands 64 numbers, one after the other, to the second warp.
template <bool kAllArrive>
__global__ void relay(int* out) {
  __shared__ int value;
  __shared__ std::uint64_t full, empty;
  if (threadIdx.x == 0) init(full, 1), init(empty, kAllArrive ? 32 : 1);
  __syncthreads();
  int sum = 0;
  for (int i = 0; i < 64; ++i) {
    if (threadIdx.x == 0) {
      wait(empty, i % 2 ^ 1);
      value = i;
      arrive(full);
    } else if (threadIdx.x >= 32) {
      wait(full, i % 2);
      sum += value;
      __syncwarp();
      if (kAllArrive || threadIdx.x == 32) arrive(empty);
    }
  }
  if (threadIdx.x >= 32) out[threadIdx.x - 32] = sum;
}

int main(int, char** arguments) {
  int* out;
  cudaMalloc(&out, 128);
  if (arguments[1][0] == 'a')
    relay<true><<<1, 64>>>(out);
  else
    relay<false><<<1, 64>>>(out);
  return cudaDeviceSynchronize() == cudaSuccess ? 0 : 2;
}
CUDA
"$cuda/bin/nvcc" -std=c++17 -arch=native -o "$folder/relay" "$folder/relay.cu"
"$cuda/bin/compute-sanitizer" --version | tail -n 1
seen=
for how in "all lanes arrive" "one lane arrives after __syncwarp()"; do
  letter=${how:0:1}
  report=$("$cuda/bin/compute-sanitizer" --tool racecheck "$folder/relay" "$letter" | grep "RACECHECK SUMMARY")
  echo "$how: ${report#*SUMMARY: }"
  grep -q " 0 hazards" <<< "$report" && seen+=0 || seen+=1
done
[ "$seen" = 01 ]
