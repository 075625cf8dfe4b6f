// Attention from 8-bit operands on Hopper's tensor cores: as hopper_kernel.cuh, but Q K^T is of int8, with a scale a
// row and a chunk of keys, and for fp8 P V of e4m3. Tensor cores cut products of e4m3 to 13 bits beside the sum so far,
// so that the product of each tile starts from zero and is added to O in float32.
#pragma once

#include <cuda_fp8.h>

#include "kernels/cuda/attention/hopper_launch.cuh"

namespace salebench::cuda {

/// To e4m3, in the order of LowBitProblem::v: word 2 m + h of a chunk holds row half h, keys 16 m + 2 (lane mod 4), the
/// next, and those 8 further on.
__device__ __forceinline__ void pack_e4m3(std::uint32_t (&p)[kTileChunks][4], const float (&weights)[kScores]) {
  const auto two = [&](int i) {
    return std::uint32_t(__nv_cvt_float2_to_fp8x2(float2{weights[i], weights[i + 1]}, __NV_SATFINITE, __NV_E4M3));
  };
#pragma unroll
  for (int chunk = 0; chunk < kTileChunks; ++chunk)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int first = 16 * chunk + 8 * (i / 2) + 2 * (i % 2);
      p[chunk][i] = two(first) | two(first + 4) << 16;
    }
}

template <class T, int kDim, int kGroups, Operands kOperands>
class LowBitConsumer
    : HopperConsumerBase<HopperShared<kDim, kGroups, kOperands>, kOperands == Operands::int8> {  // turns slow fp8 down
 public:
  using Shared = HopperShared<kDim, kGroups, kOperands>;
  static constexpr bool kAgain = false;

  using HopperConsumerBase<Shared, kOperands == Operands::int8>::HopperConsumerBase;

  /// As HopperConsumer::run.
  __device__ void run() {
    Registers r;
    this->take_turns([&](auto plain, bool first, bool last) { return turn<plain>(r, first, last); });
  }

 private:
  using Base = HopperConsumerBase<Shared, kOperands == Operands::int8>;
  using Base::a_, Base::group_, Base::item_, Base::old_, Base::queries_, Base::shared_;
  /// An integer of 22 bits and a sign, added to the bits of this, is a float that is larger by this.
  static constexpr float kShift = 12582912;
  static constexpr bool kFp8 = kOperands == Operands::fp8;
  using Softmax = HopperSoftmax<std::conditional_t<kFp8, E4m3Base, SafeBase>>;
  using Output = float[kDim / 2];

  struct Registers {
    Output o = {};
    std::uint32_t p[kFp8 ? kTileChunks : kTileKeys / 16][4] = {};  // weights of the latest tile
    Softmax softmax;
  };

  /// As HopperConsumer::turn.
  template <bool kPlain>
  __device__ __forceinline__ bool turn(Registers& r, bool first, bool last) {
    if (!kPlain && first)
      for (int h = 0; h < 2; ++h) row_scale_[h] = shared_.row_scales[queries_][this->row_of_item() + 8 * h] * a_.scale2;
    int codes[kScores];
    Output part;  // of one tile, for fp8
    Output& product = kFp8 ? part : r.o;
    this->await_turn();
    const int keys = begin_scores(codes), values = begin_output(r, product);
    this->pass_turn();
    const bool next_is_whole = shared_.tiles[keys].next_is_whole;
    const float4 key_scales = shared_.key_scales[keys];
    const Softmax finished = r.softmax;
    if (!kPlain && first) r.softmax = {};
    const auto take_product = [&] {
      wait_products<0>();
      settle(product);
      this->release(shared_.empty[values]);
      if constexpr (kFp8) {
#pragma unroll
        for (int i = 0; i < kDim / 2; ++i) r.o[i] += part[i];
      }
    };
    wait_products<1>();
    settle(codes);
    constexpr bool kEarly = kFp8 && !kPlain;  // leaves registers for what hides scores
    if (kEarly) take_product();
    float s[kScores], rescale[2];
#pragma unroll
    for (int i = 0; i < kScores; ++i) s[i] = __int_as_float(codes[i] + __float_as_int(kShift));
    if (!kPlain && agreed(shared_.tiles[keys].cut)) this->hide(s, shared_.tiles[keys]);
    this->release(shared_.empty[keys]);
    this->release_queries(last);
    const bool rose = weigh(r.softmax, s, key_scales, rescale);
    if (!kEarly) take_product();
    if constexpr (kFp8)
      pack_e4m3(r.p, s);
    else
      pack_weights<T>(r.p, s);
    if (!kPlain && first)
      this->renew_output(r.o, [&] { finish(r.o, finished); });
    else if (rose)
      scale_output(r.o, rescale);
    return next_is_whole;
  }

  /// Begins the scores of the next tile, of the group's queries [64][kDim]; returns the slot of its keys.
  __device__ __forceinline__ int begin_scores(int (&codes)[kScores]) {
    const int slot = this->take_slot();
    const std::uint64_t q = rows_descriptor<kDim>(shared_address(shared_.q[queries_]) + group_ * kGroupRows * kDim);
    const std::uint64_t keys = rows_descriptor<kDim>(shared_address(shared_.slots[slot]));
    fence_products();
    multiply_int8_group<false>(codes, q, keys);
#pragma unroll
    for (int k = 1; k < kDim / 32; ++k) multiply_int8_group<true>(codes, moved(q, 32 * k), moved(keys, 32 * k));
    commit_products();
    return slot;
  }

  /// Begins product = p v for fp8, product += p v else, of the latest weights; returns the slot of the values.
  __device__ __forceinline__ int begin_output(const Registers& r, Output& product) {
    const int slot = this->take_slot();
    const std::uint32_t values = shared_address(shared_.slots[slot]);
    if constexpr (kFp8) {
      const std::uint64_t v = plain_matrix_descriptor(values, 16 * kDim);
      fence_products();
      multiply_fp8_group<false>(product, r.p[0], v);
#pragma unroll
      for (int i = 1; i < kTileChunks; ++i)
        multiply_fp8_group<true>(product, r.p[i], moved(v, i * Shared::kLowBitChunk));
      commit_products();
    } else {
      multiply_values<T>(product, r.p, values);
    }
    return slot;
  }

  /// As HopperSoftmax::raise and weigh, for sums of codes that are kShift too large: scores once that is gone and
  /// scales are in. Positive floats, and -inf beside them, are in the order of their bits.
  __device__ __forceinline__ bool weigh(Softmax& softmax, float (&s)[kScores], const float4& key_scales,
                                        float (&rescale)[2]) const {
    const float of_chunk[kTileChunks] = {key_scales.x, key_scales.y, key_scales.z, key_scales.w};
    float most[2] = {-INFINITY, -INFINITY};
#pragma unroll
    for (int chunk = 0; chunk < kTileChunks; ++chunk)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const float* const first = s + 16 * chunk + 2 * h;
        int bits = max(__float_as_int(first[0]), __float_as_int(first[1]));
#pragma unroll
        for (int n = 1; n < 4; ++n)
          bits = __vimax3_s32(bits, __float_as_int(first[4 * n]), __float_as_int(first[4 * n + 1]));
        most[h] = fmaxf(most[h], (__int_as_float(bits) - kShift) * scale_of(h, of_chunk[chunk]));
      }
    const bool rose = softmax.raise_to(most, 1, rescale);
    float added[2][2] = {};
#pragma unroll
    for (int chunk = 0; chunk < kTileChunks; ++chunk) {
      float key_scale = of_chunk[chunk];
      asm volatile("" : "+f"(key_scale));  // what of it was computed above is not kept: registers are scarce
      const float scale[2] = {scale_of(0, key_scale), scale_of(1, key_scale)};
      const float base[2] = {softmax.base[0] + kShift * scale[0], softmax.base[1] + kShift * scale[1]};
#pragma unroll
      for (int i = 16 * chunk; i < 16 * chunk + 16; ++i)
        added[i / 2 % 2][i % 2] += s[i] = exp2_fast(s[i] * scale[i / 2 % 2] - base[i / 2 % 2]);
    }
#pragma unroll
    for (int h = 0; h < 2; ++h) softmax.sum[h] += added[h][0] + added[h][1];
    return rose;
  }
  /// Positive, so that hidden scores stay -inf.
  __device__ float scale_of(int h, float key_scale) const {
    return fmaxf(row_scale_[h] * key_scale, 1e-30f);
  }

  __device__ void finish(Output& o, const Softmax& softmax) {
    if constexpr (kFp8) {
      const float sums[2] = {row_sum(softmax.sum[0]), row_sum(softmax.sum[1])};
      const int first = old_.head / a_.group * kDim + lane_id() % 4 * 2;
#pragma unroll
      for (int n = 0; n < kDim / 8; ++n) {
        const float2 scale = __ldg(reinterpret_cast<const float2*>(a_.low.v_scale + first + 8 * n));
        const float2 mean = __ldg(reinterpret_cast<const float2*>(a_.low.v_mean + first + 8 * n));
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          o[4 * n + 2 * h] = o[4 * n + 2 * h] * scale.x + mean.x * sums[h];
          o[4 * n + 2 * h + 1] = o[4 * n + 2 * h + 1] * scale.y + mean.y * sums[h];
        }
      }
    }
    write_rows<T, kDim>(a_, old_.head, this->row(old_), o, softmax,
                        a_.low.lse_shift + std::size_t(old_.head) * a_.low.q_rows);
  }

  float row_scale_[2];
};

template <Operands kOperands>
void launch_low_bit(const HopperArgs& args, Dtype dtype, int head_dim, Stream stream) {
  dispatch(dtype, head_dim, [&](auto type, auto dim) {
    if (args.grid.block_q == kGroupRows)
      launch_hopper<LowBitConsumer<decltype(type), dim.value, 1, kOperands>>(args, stream);
    else
      launch_hopper<LowBitConsumer<decltype(type), dim.value, 2, kOperands>>(args, stream);
  });
}

}  // namespace salebench::cuda
