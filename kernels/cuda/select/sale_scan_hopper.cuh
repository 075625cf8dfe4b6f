// The scan of SALE's middle key blocks with codes of 8 bits on Hopper, the same integers as sale_scan.cu's. A CTA takes
// 256 query rows of a head and tiles of 128 keys; it has a producer and four consumer warpgroups of 64 rows, so that
// some vote while the tensor cores work for others.
#pragma once

#include <climits>

#include "kernels/cuda/hopper/tma.cuh"
#include "kernels/cuda/hopper/wgmma.cuh"
#include "kernels/cuda/select/sale_codes.cuh"
#include "kernels/cuda/select/scan_ring.cuh"

namespace salebench::cuda {

constexpr int kCodeRows = 256;  // of a CTA
constexpr int kCodeKeys = 128;  // of a tile
constexpr int kCodeConsumers = kCodeRows / 64;
constexpr int kCodeThreads = (1 + kCodeConsumers) * kGroupThreads;

struct HopperCodeArgs {
  CUtensorMap k;  ///< boxes of a tile
  CodeScanArgs scan;
};

template <int kDim>
struct CodeShared {
  static constexpr int kSlots = 6, kChunks = kCodeKeys / kChunkKeys;
  struct Tile {
    char codes[kCodeKeys * kDim];  ///< [key][channel]
    float bias[kCodeKeys];
    float group_bias[kKeyGroups][kChunks], inverse[kKeyGroups][kChunks];          ///< of keys that share a scale
    char padding[1024 - (kCodeKeys + 2 * kKeyGroups * kChunks) * sizeof(float)];  // codes start at 1024 n
  };
  static constexpr int kTileBytes = offsetof(Tile, padding);

  Tile tiles[kSlots];
  ScanRing<kSlots> ring;
};

/// What a CTA scans: rows from `row` on, and tiles [begin, end).
struct CodeRange {
  int head, kv_head, row, begin, end = 0;

  /// One KV head after the other, the longest rows first, the heads of a group side by side.
  __device__ explicit CodeRange(const CodeScanArgs& a) {
    const int of_kv_head = blockIdx.x % (a.group * a.row_groups);
    kv_head = blockIdx.x / (a.group * a.row_groups);
    head = kv_head * a.group + of_kv_head % a.group;
    row = (a.row_groups - 1 - of_kv_head / a.group) * kCodeRows;
    if (a.limit[std::size_t(head) * a.grid.q_len + row] == INFINITY) return;  // a dense head
    const int first = row / a.grid.block_q, blocks = kCodeRows / a.grid.block_q;
    const ScanSpan span(a.grid, first, min(a.grid.q_blocks, first + blocks) - 1, a.local_blocks);
    if (span.end == 0) return;
    begin = span.begin * a.grid.block_k / kCodeKeys;
    end = (span.end * a.grid.block_k + kCodeKeys - 1) / kCodeKeys;
  }
};

template <int kDim>
__device__ void produce_codes(const HopperCodeArgs& a, CodeShared<kDim>& shared, const CodeRange& range) {
  using Shared = CodeShared<kDim>;
  RingPlace<Shared::kSlots> place;
  const CodeScanArgs& s = a.scan;
  for (int tile = range.begin; tile < range.end; ++tile) {
    const Barrier full = shared.ring.fill(place, Shared::kTileBytes);
    typename Shared::Tile& to = shared.tiles[place.slot];
    const int key = tile * kCodeKeys;
    copy_box(shared_address(to.codes), a.k, full, 0, key, 0, range.kv_head);
    copy_bytes(shared_address(to.bias), s.bias + std::size_t(range.head) * s.key_room + key, sizeof(to.bias), full);
    const auto of_groups = [&](int head) { return (std::size_t(head) * s.key_room + key) / kChunkKeys * kKeyGroups; };
    copy_bytes(shared_address(to.group_bias), s.group_bias + of_groups(range.head), sizeof(to.group_bias), full);
    copy_bytes(shared_address(to.inverse), s.k_inverse + of_groups(range.kv_head), sizeof(to.inverse), full);
    place.advance();
  }
}

/// A thread of a warpgroup, which has 64 rows. Two of them are the thread's in the layout of products, one 8 rows below
/// the other; they share a scale.
template <int kDim>
class CodeConsumer {
  using Shared = CodeShared<kDim>;
  static constexpr int kChunks = Shared::kChunks;

 public:
  __device__ CodeConsumer(const HopperCodeArgs& a, Shared& shared, const CodeRange& range)
      : a_(a.scan), shared_(shared), range_(range) {}

  __device__ void run() {
    if (agreed(load_rows()))
      scan<true>();
    else
      scan<false>();
  }

 private:
  /// Whether some bias of the warpgroup is too large for kMagic.
  __device__ bool load_rows() {
    const DeviceGrid& grid = a_.grid;
    const int group = int(threadIdx.x) / kGroupThreads - 1;
    const int warp_row = range_.row + group * 64 + int(threadIdx.x) % kGroupThreads / 32 * 16;
    const int q_block = min(grid.q_blocks - 1, warp_row / grid.block_q), shift = tile_shift(grid);
    bits_ = a_.bits + (std::size_t(range_.head) * grid.q_blocks + q_block) * grid.words;
    begin_ = middle_begin(grid, q_block) << shift;
    end_ = warp_row < grid.q_len ? middle_end(grid, q_block, a_.local_blocks) << shift : 0;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int row = warp_row + lane_id() / 4 + 8 * h;
      const bool valid = row < grid.q_len;
      const std::size_t at = std::size_t(range_.head) * grid.q_len + (valid ? row : 0);
      const float scale = a_.q_scale[at];
      if (h == 0) inverse_ = valid ? inverse_of(scale) : 0.0f;
      limit_[h] = valid ? limit_in(scale, a_.limit[at]) : INFINITY;
      const auto* codes = reinterpret_cast<const std::uint32_t*>(a_.q + at * kDim) + lane_id() % 4;
#pragma unroll
      for (int i = 0; i < kDim / 16; ++i) q_[i / 2][i % 2 * 2 + h] = codes[4 * i];
    }
    return any_of_group(inverse_ * __int_as_float(a_.bias_most[range_.head]) >= kMagicRange, 1 + group);
  }

  template <bool kWide>
  __device__ void scan() {
    unsigned found = 0;  // chunks of the word under way
    for (int tile = range_.begin; tile < range_.end; ++tile) {
      const int slot = shared_.ring.take(place_);
      const typename Shared::Tile& keys = shared_.tiles[slot];
      const GroupScales scales(keys);
      int sum[64];
      multiply(sum, keys);
      found |= vote<kWide>(sum, scales, keys) << (tile * kChunks % 32);
      shared_.ring.release(slot);
      const int end = (tile + 1) * kChunks;
      if (end % 32 != 0 && tile + 1 < range_.end) continue;
      keep_found(bits_, tile_shift(a_.grid), begin_, end_, (end - 1) / 32, found);
      found = 0;
    }
  }

  __device__ void multiply(int (&sum)[64], const typename Shared::Tile& keys) const {
    settle(sum);
    fence_products();
    const std::uint64_t k = rows_descriptor<kDim>(shared_address(keys.codes));
    multiply_int8_group<false>(sum, q_[0], k);
#pragma unroll
    for (int d = 1; d < kDim / 32; ++d) multiply_int8_group<true>(sum, q_[d], moved(k, d * 32));
    commit_products();
    wait_products<0>();
    settle(sum);
  }

  /// Of the thread's keys of each chunk, which share a scale: 1 / scale, and their largest bias.
  struct GroupScales {
    float4 inverse, bias;

    __device__ explicit GroupScales(const typename Shared::Tile& keys)
        : inverse(*reinterpret_cast<const float4*>(keys.inverse[lane_id() % 4])),
          bias(*reinterpret_cast<const float4*>(keys.group_bias[lane_id() % 4])) {}
  };

  /// Bit c of the result says whether chunk c reaches a limit. The largest q . k + rint(bias / q_scale) of a row and
  /// chunk decides, but in few chunks the largest q . k could do it with the largest bias, and only there all are
  /// added.
  template <bool kWide>
  __device__ unsigned vote(const int (&sum)[64], const GroupScales& scales, const typename Shared::Tile& keys) const {
    int most[kChunks][2];
#pragma unroll
    for (int n = 0; n < kChunkKeys / 8; ++n)
#pragma unroll
      for (int chunk = 0; chunk < kChunks; ++chunk)
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          const int i = 16 * chunk + 4 * n + 2 * h;
          most[chunk][h] = n == 0 ? max(sum[i], sum[i + 1]) : __vimax3_s32(most[chunk][h], sum[i], sum[i + 1]);
        }
    const float k_inverse[kChunks] = {scales.inverse.x, scales.inverse.y, scales.inverse.z, scales.inverse.w};
    const float biases[kChunks] = {scales.bias.x, scales.bias.y, scales.bias.z, scales.bias.w};
    bool may[kChunks], some = false;
#pragma unroll
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      const int bias = bias_units<kWide>(biases[chunk], inverse_);
      may[chunk] = kWide || most[chunk][0] + bias >= least_units<kWide>(limit_[0], k_inverse[chunk]) ||
                   most[chunk][1] + bias >= least_units<kWide>(limit_[1], k_inverse[chunk]);
      some |= may[chunk];
    }
    unsigned reached = 0;
    if (!some) return reached;
#pragma unroll
    for (int chunk = 0; chunk < kChunks; ++chunk)
      if (may[chunk] && reaches<kWide>(sum, keys, chunk)) reached |= 1u << chunk;
    return reached;
  }

  template <bool kWide>
  __device__ bool reaches(const int (&sum)[64], const typename Shared::Tile& keys, int chunk) const {
    int most[2] = {INT_MIN, INT_MIN};
#pragma unroll
    for (int n = 0; n < kChunkKeys / 8; ++n) {
      const float2 bias =
          *reinterpret_cast<const float2*>(&keys.bias[chunk * kChunkKeys + bias_place(8 * n + lane_id() % 4 * 2)]);
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const int units = bias_units<kWide>(c == 0 ? bias.x : bias.y, inverse_);
#pragma unroll
        for (int h = 0; h < 2; ++h) most[h] = __viaddmax_s32(sum[16 * chunk + 4 * n + 2 * h + c], units, most[h]);
      }
    }
    const float k_inverse = keys.inverse[lane_id() % 4][chunk];
    return most[0] >= least_units<kWide>(limit_[0], k_inverse) || most[1] >= least_units<kWide>(limit_[1], k_inverse);
  }

  const CodeScanArgs& a_;
  Shared& shared_;
  const CodeRange range_;
  RingPlace<Shared::kSlots> place_;
  std::uint32_t q_[kDim / 32][4];  // codes of the two rows
  float inverse_, limit_[2];       // 1 / q_scale, limit / q_scale
  std::uint32_t* bits_;            // row of the mask
  int begin_, end_;                // chunks of it that count
};

template <int kDim>
__global__ void __launch_bounds__(kCodeThreads, 1) sale_scan_kernel(const __grid_constant__ HopperCodeArgs a) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ __align__(1024) char memory[];
  auto& shared = *reinterpret_cast<CodeShared<kDim>*>(memory);
  const CodeRange range(a.scan);
  if (range.end == 0) return;
  if (threadIdx.x == 0) shared.ring.init(kCodeConsumers * 4);
  __syncthreads();
  if (threadIdx.x < kGroupThreads) {
    give_registers<24>();
    if (threadIdx.x < 32 && is_elected()) produce_codes(a, shared, range);
  } else {
    take_registers<112>();
    CodeConsumer<kDim>(a, shared, range).run();
  }
#endif
}

}  // namespace salebench::cuda
