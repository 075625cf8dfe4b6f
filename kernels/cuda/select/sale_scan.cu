// The scan of SALE's middle key blocks with codes of 8 bits, or of 4 where the chip multiplies those: in both the MMA's
// operands lie alike in bytes. A CTA takes 256 query rows, a warp 32 of them, so that each key tile serves four tiles
// of rows. In the MMA's accumulator a lane's values of one row and one key block share both scales, so their largest
// integer decides.
#include "kernels/cuda/hopper/hopper_here.h"
#include "kernels/cuda/select/sale_codes.cuh"

namespace salebench::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = 32 * kWarps;
constexpr int kCtaRows = kWarps * kWarpRows;
#if __CUDA_ARCH__ == 900
constexpr int kChunksAtOnce = 1;  // more would spill there, where Hopper only takes packed codes from here
#else
constexpr int kChunksAtOnce = 4;
#endif
constexpr int kGroupSegments = 32 / kScanChunks;  // segments whose chunks fill a word
/// What the scan takes at a time; kBytes of codes a row.
template <int kBytes>
struct Segment {
  std::int8_t codes[kScanKeys * kBytes];  // swizzled rows
  float bias[kScanKeys];
  float inverse[kScanChunks * kKeyGroups];  // 1 / k_scale
};

/// Copies one segment after the other to shared memory; each thread keeps its places.
template <int kBytes>
class SegmentLoader {
 public:
  __device__ SegmentLoader(const CodeScanArgs& a, int head, int kv_head, int first_segment) {
    const int t = threadIdx.x;
    const std::size_t first_key = std::size_t(first_segment) * kScanKeys;
    codes_ = a.k + (std::size_t(kv_head) * a.key_room + first_key) * kBytes + t * 16;
    bias_ = a.bias + std::size_t(head) * a.key_room + first_key + 4 * t;
    inverse_ = a.k_inverse + (std::size_t(kv_head) * a.key_room + first_key) / kChunkKeys * kKeyGroups +
               4 * (t - kBiasThreads);
  }
  __device__ void load_next(Segment<kBytes>& to) {
    constexpr int kChunks = kBytes / 16, kPass = kThreads / kChunks;  // rows that the CTA copies at a time
    const int t = threadIdx.x;
    const std::uint32_t place = shared_address(to.codes) + swizzle<kBytes>(t / kChunks, t % kChunks);
#pragma unroll
    for (int r = 0; r < kScanKeys; r += kPass) copy_async(place + r * kBytes, codes_ + r * kBytes);
    if (t < kBiasThreads) copy_async(shared_address(to.bias + 4 * t), bias_);
    if (t >= kBiasThreads && t < kBiasThreads + kScanChunks)
      copy_async(shared_address(to.inverse + 4 * (t - kBiasThreads)), inverse_);
    codes_ += kScanKeys * kBytes, bias_ += kScanKeys, inverse_ += kScanChunks * kKeyGroups;
  }

 private:
  static constexpr int kBiasThreads = kScanKeys / 4;  // 16 bytes each
  const std::int8_t* codes_;
  const float *bias_, *inverse_;
};

template <int kBits>
__device__ inline void multiply_add(int (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  if constexpr (kBits == 4)
    multiply_add_s4(c, a, b0, b1);
  else
    multiply_add_s8(c, a, b0, b1);
}

/// The queries of a warp: codes as MMA operands, and of a lane's rows 1 / scale and limit / scale.
template <int kBytes>
struct ScanRows {
  std::uint32_t codes[kMTiles][kBytes / 32][4];
  float inverse[kMTiles], limit[kMTiles][2];  // the two rows share a scale
  bool wide;                                  // some bias / scale is too large for kMagic

  __device__ ScanRows(const CodeScanArgs& a, int head, int row) {
    float most = 0;
#pragma unroll
    for (int m = 0; m < kMTiles; ++m)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const int r = row + row_of(m, h);
        const bool valid = r < a.grid.q_len;
        const std::size_t at = std::size_t(head) * a.grid.q_len + (valid ? r : 0);
        const float scale = valid ? a.q_scale[at] : 0.0f, t = valid ? a.limit[at] : INFINITY;
        if (h == 0) inverse[m] = inverse_of(scale);
        limit[m][h] = limit_in(scale, t);
        most = fmaxf(most, inverse[m]);
#pragma unroll
        for (int d = 0; d < kBytes / 32; ++d)
#pragma unroll
          for (int half = 0; half < 2; ++half)
            codes[m][d][2 * half + h] = valid ? *reinterpret_cast<const std::uint32_t*>(a.q + at * kBytes + 32 * d +
                                                                                        16 * half + lane_id() % 4 * 4)
                                              : 0;
      }
    wide = __any_sync(~0u, most * __int_as_float(a.bias_most[head]) >= kMagicRange);
  }
};

/// Whether any of the lane's logits in chunk `chunk` of the segment reaches its row's limit. kWide is for biases
/// beyond kMagic's range.
template <int kBits, int kBytes, bool kWide>
__device__ inline bool reaches(const ScanRows<kBytes>& rows, const Segment<kBytes>& keys, int chunk) {
  constexpr int kTiles = kChunkKeys / 8;
  const int lane = lane_id();
  int sum[kMTiles][kTiles][4];  // bias_units(), then + q . k
#pragma unroll
  for (int n = 0; n < kTiles; ++n) {
    const float2 bias =
        *reinterpret_cast<const float2*>(&keys.bias[chunk * kChunkKeys + bias_place(8 * n + lane % 4 * 2)]);
#pragma unroll
    for (int m = 0; m < kMTiles; ++m)
#pragma unroll
      for (int c = 0; c < 2; ++c)
        sum[m][n][c] = sum[m][n][2 + c] = bias_units<kWide>(c == 0 ? bias.x : bias.y, rows.inverse[m]);
  }
  const std::uint32_t codes = shared_address(keys.codes);
#pragma unroll
  for (int d = 0; d < kBytes / 32; ++d)
#pragma unroll
    for (int n = 0; n < kTiles; n += 2) {
      std::uint32_t b[4];  // both halves of 32 bytes of channels for keys 8 n and 8 (n + 1)
      load_matrices(
          b, codes + swizzle<kBytes>(chunk * kChunkKeys + 8 * n + lane % 8 + lane / 16 * 8, 2 * d + lane / 8 % 2));
#pragma unroll
      for (int m = 0; m < kMTiles; ++m) {
        multiply_add<kBits>(sum[m][n], rows.codes[m][d], b[0], b[1]);
        multiply_add<kBits>(sum[m][n + 1], rows.codes[m][d], b[2], b[3]);
      }
    }
  const float k_inverse = keys.inverse[scale_place(chunk, lane % 4)];
  bool any = false;
#pragma unroll
  for (int m = 0; m < kMTiles; ++m)
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      int most = max(sum[m][0][2 * h], sum[m][0][2 * h + 1]);
#pragma unroll
      for (int n = 1; n < kTiles; ++n) most = __vimax3_s32(most, sum[m][n][2 * h], sum[m][n][2 * h + 1]);
      any |= most >= least_units<kWide>(rows.limit[m][h], k_inverse);
    }
  return any;
}

/// Bit c: whether the lane finds chunk c of the segment reached.
template <int kBits, int kBytes, bool kWide>
__device__ inline unsigned reached_chunks(const ScanRows<kBytes>& rows, const Segment<kBytes>& keys) {
  unsigned found = 0;
#pragma unroll kChunksAtOnce
  for (int chunk = 0; chunk < kScanChunks; ++chunk)
    if (reaches<kBits, kBytes, kWide>(rows, keys, chunk)) found |= 1u << chunk;
  return found;
}

/// kStages segments are in shared memory or on their way there.
template <int kBits, int kBytes, int kStages>
__global__ void __launch_bounds__(kThreads, 2) scan_kernel(const __grid_constant__ CodeScanArgs a) {
  extern __shared__ __align__(1024) char memory[];
  auto* const stages = reinterpret_cast<Segment<kBytes>*>(memory);
  // One KV head after the other, the longest rows first, the heads of a group side by side.
  const int of_kv_head = blockIdx.x % (a.group * a.row_groups), kv_head = blockIdx.x / (a.group * a.row_groups);
  const int head = kv_head * a.group + of_kv_head % a.group;
  const int cta_row = (a.row_groups - 1 - of_kv_head / a.group) * kCtaRows;
  if (a.limit[std::size_t(head) * a.grid.q_len + cta_row] == INFINITY) return;  // a dense head
  const int row = cta_row + threadIdx.x / 32 * kWarpRows, q_block = row / a.grid.block_q;
  const int first_block = cta_row / a.grid.block_q, chunks = a.grid.block_k / kChunkKeys, shift = tile_shift(a.grid);
  const ScanSpan span(a.grid, first_block,
                      max(first_block, min(a.grid.q_blocks, (cta_row + kCtaRows) / a.grid.block_q) - 1),
                      a.local_blocks);
  const int first_segment = span.begin * chunks / kScanChunks;
  const int segments = (span.end * chunks + kScanChunks - 1) / kScanChunks;
  const bool inside = q_block < a.grid.q_blocks;
  const int begin = inside ? middle_begin(a.grid, q_block) : 0;
  const int end = inside ? middle_end(a.grid, q_block, a.local_blocks) : 0;

  SegmentLoader<kBytes> loader(a, head, kv_head, first_segment);
  for (int i = 0; i < kStages - 1; ++i) {
    if (first_segment + i < segments) loader.load_next(stages[i]);
    commit_copies();
  }
  const ScanRows<kBytes> rows(a, head, row);
  std::uint32_t* const mask_row = a.bits + (std::size_t(head) * a.grid.q_blocks + q_block) * a.grid.words;
  unsigned found = 0;  // chunks of the group of 32 under way
  int stage = 0, next_stage = kStages - 1;
  for (int segment = first_segment; segment < segments; ++segment) {
    wait_copies<kStages - 2>();
    __syncthreads();  // the segment is here, and all warps are done with the one whose place the next load takes
    if (segment + kStages - 1 < segments) loader.load_next(stages[next_stage]);
    commit_copies();
    if (segment * kScanChunks < end * chunks) {
      const Segment<kBytes>& keys = stages[stage];
      const unsigned reached = rows.wide ? reached_chunks<kBits, kBytes, true>(rows, keys)
                                         : reached_chunks<kBits, kBytes, false>(rows, keys);
      found |= reached << (segment % kGroupSegments * kScanChunks);
    }
    stage = stage + 1 == kStages ? 0 : stage + 1;
    next_stage = next_stage + 1 == kStages ? 0 : next_stage + 1;
    if (segment % kGroupSegments == kGroupSegments - 1 || segment == segments - 1) {
      keep_found(mask_row, shift, begin << shift, end << shift, segment / kGroupSegments, found);
      found = 0;
    }
  }
}

template <int kBits, int kBytes, int kStages>
void launch(const CodeScanArgs& args, int blocks, Stream stream) {
  constexpr auto kernel = scan_kernel<kBits, kBytes, kStages>;
  constexpr int bytes = kStages * sizeof(Segment<kBytes>);
  SALEBENCH_CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
  kernel<<<blocks, kThreads, bytes, stream>>>(args);
  SALEBENCH_CUDA_CHECK(cudaGetLastError());
}

}  // namespace

void sale_scan_codes(const DeviceProblem& p, const SaleOptions& options, const SaleBuffers& b, MaskView mask,
                     Stream stream) {
  const int row_groups = ceil_div(p.shape.q_len, kCtaRows);
  const CodeScanArgs args{b.q,
                          b.k,
                          b.q_scale,
                          b.k_inverse,
                          b.bias,
                          b.group_bias,
                          b.limit,
                          b.bias_most,
                          mask.bits,
                          DeviceGrid(mask.grid),
                          p.shape.group(),
                          b.key_room,
                          options.local_blocks,
                          row_groups};
  const int blocks = p.shape.q_heads * row_groups;
  const bool packed = sale_packs_codes(options);
  if (!packed && !why_no_hopper()) return sale_scan_hopper(p, args, stream);
  if (packed && p.shape.head_dim == 64)
    launch<4, 32, 3>(args, blocks, stream);
  else if (packed)
    launch<4, 64, 3>(args, blocks, stream);
  else if (p.shape.head_dim == 64)
    launch<8, 64, 3>(args, blocks, stream);
  else if (device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin) >= int(3 * sizeof(Segment<128>)))
    launch<8, 128, 3>(args, blocks, stream);
  else  // sm_86 and sm_89 have 99 KB
    launch<8, 128, 2>(args, blocks, stream);
}

}  // namespace salebench::cuda
