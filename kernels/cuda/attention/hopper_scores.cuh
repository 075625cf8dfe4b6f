// Scores of 64 query rows against a tile of keys on Hopper's tensor cores, as a thread of a warpgroup holds them
// (kernels/cuda/hopper/wgmma.cuh): which are hidden, and the online softmax over them.
#pragma once

#include "kernels/cuda/attention/tile.cuh"

namespace salebench::cuda {

constexpr int kTileKeys = 128;                       ///< keys of a tile
constexpr int kTileChunks = kTileKeys / kChunkKeys;  ///< chunks that are gathered into a tile
constexpr int kScores = kTileKeys / 2;               ///< scores of a thread: 64 rows x 128 keys over 128 threads

/// What a consumer must know of a tile of K: its chunks, whether a row of the item does not see all of them, and
/// whether the item has a next tile, all of which all rows see.
struct __align__(16) HopperTile {
  std::uint16_t chunks[kTileChunks];
  int cut, next_is_whole;
};

/// How far above the largest score a softmax sets its base, and how much too low it may become. Weights of at most 2^8;
/// with so much room above that scores need not be looked at; of at most e4m3's largest, which the largest weight is.
struct SafeBase {
  static constexpr float kHeadroom = 0, kSlack = 8;
};
struct RoomyBase {
  static constexpr float kHeadroom = 32, kSlack = 8;
};
struct E4m3Base {
  static constexpr float kHeadroom = -8.80735492f, kSlack = 0;
};

/// Online softmax, in base 2, of the two rows that a thread shares with the three others of its quad. Weights are
/// 2^(score - base). The base is raised to kHeadroom above the largest score only once it is too low by more than
/// kSlack, which after an item's first tiles is rare: until then the quad has nothing to exchange and no earlier weight
/// to rescale. With headroom, a kernel may even leave out to look for larger scores, as float32 and bfloat16 hold
/// weights up to 2^127 as well as any: what comes out is wrong only where sums are not in_bounds().
template <class Base>
struct HopperSoftmax {
  static constexpr float kHeadroom = Base::kHeadroom, kSlack = Base::kSlack;
  static constexpr float kLowest = -3e38f, kLargestSum = 1e30f;

  float base[2] = {kLowest, kLowest}, sum[2] = {};

  /// The same in all lanes of a warp.
  __device__ bool in_bounds() const { return __all_sync(~0u, sum[0] < kLargestSum && sum[1] < kLargestSum); }

  /// Sees to it that the bases suit the scores of a tile. Returns false, the same in all lanes, if they did; else
  /// earlier weights shrink by `rescale`.
  __device__ bool raise(const float (&s)[kScores], float scale2, float (&rescale)[2]) {
    float most[2][2] = {{s[0], s[1]}, {s[2], s[3]}};
#pragma unroll
    for (int i = 4; i < kScores; ++i) most[i / 2 % 2][i % 2] = fmaxf(most[i / 2 % 2][i % 2], s[i]);
    return raise_to({fmaxf(most[0][0], most[0][1]), fmaxf(most[1][0], most[1][1])}, scale2, rescale);
  }

  /// The same for the thread's largest scores of its rows.
  __device__ bool raise_to(const float (&most)[2], float scale2, float (&rescale)[2]) {
    bool rose = false;
#pragma unroll
    for (int h = 0; h < 2; ++h) rose |= most[h] * scale2 + kHeadroom - base[h] > kSlack;
    if (!__any_sync(~0u, rose)) return false;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const float next = fmaxf(base[h], row_max(most[h]) * scale2 + kHeadroom);
      rescale[h] = exp2_fast(base[h] - next);
      sum[h] *= rescale[h];
      base[h] = next;
    }
    return true;
  }

  /// Turns the scores of a tile into weights and adds them.
  __device__ void weigh(float (&s)[kScores], float scale2) {
    float added[2][2] = {};
#pragma unroll
    for (int i = 0; i < kScores; ++i) added[i / 2 % 2][i % 2] += s[i] = exp2_fast(s[i] * scale2 - base[i / 2 % 2]);
#pragma unroll
    for (int h = 0; h < 2; ++h) sum[h] += added[h][0] + added[h][1];
  }
};

/// Sets the scores of keys that a row does not see to -inf; `rows` are the thread's two. The scores are those of the
/// tile's first chunks.
template <bool kWindows, int kCount>
__device__ inline void hide_scores(float (&s)[kCount], const DeviceGrid& grid, const int (&rows)[2],
                                   const HopperTile& tile) {
  const int ends[2] = {grid.key_end(rows[0]), grid.key_end(rows[1])};
#pragma unroll
  for (int chunk = 0; chunk < kCount / 16; ++chunk)
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int key = tile.chunks[chunk] * kChunkKeys;
      const std::uint32_t seen = kWindows ? grid.visible_keys(rows[h], key) : lowest_bits(ends[h] - key);
#pragma unroll
      for (int i = 0; i < 8; ++i) {  // keys 8 (i / 2) + 2 (lane mod 4) + i mod 2
        float& score = s[16 * chunk + 4 * (i / 2) + 2 * h + i % 2];
        score = seen >> lane_id() % 4 * 2 >> (8 * (i / 2) + i % 2) & 1 ? score : -INFINITY;
      }
    }
}

}  // namespace salebench::cuda
