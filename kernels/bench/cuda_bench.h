// What the parts of salebench_cuda_bench share: random problems in device memory, and medians of timed steps.
#pragma once

#include <cmath>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "kernels/cuda/attention/attention.h"
#include "kernels/cuda/device/device_memory.h"
#include "kernels/cuda/device/device_timer.h"

namespace salebench::cuda {

/// What bench_attention() measures, and how.
struct AttentionBench {
  int head_dim = 128;
  int pause_ms = 0;                   ///< idle before each run: the chip's clock recovers from what ran before
  std::set<std::string> dense = {};   ///< which dense kernels; all if empty
  std::vector<BlockSize> tiles = {};  ///< of masks, each with each density
  std::vector<double> densities = {};
  std::vector<Operands> operands = {};  ///< of 8 bits, beside 16
};

/// Attention kernels side by side, those that are built in and can run: milliseconds, spread, TFLOP/s of the kept (row,
/// key) pairs, and that rate over the fastest dense one's.
void bench_attention(int length, const AttentionBench& how);

/// Fills with bfloat16 values of mean 0 and variance 1, near enough to normal.
void fill_normal(void* values, std::size_t count, std::uint64_t seed);

/// Random tiles with the given probability, and those on the diagonal.
void random_tiles(MaskView mask, double density);

/// One problem in device memory and room for its results: bf16, 32 query and 8 KV heads, causal.
class Case {
 public:
  explicit Case(int length, int head_dim = 128)
      : dense_flops(4.0 * head_dim * kQueryHeads * (0.5 * length * (length + 1.0))),
        queries_(std::size_t(kQueryHeads) * length * head_dim),
        keys_(std::size_t(kKvHeads) * length * head_dim),
        values_(2 * (queries_ + 2 * keys_)),
        output_(queries_),
        lse_(std::size_t(kQueryHeads) * length) {
    fill_normal(values_.data(), values_.bytes() / 2, 1);
    char* const q = static_cast<char*>(values_.data());
    p.shape = {kQueryHeads, kKvHeads, length, length, head_dim};
    p.scale = 1 / std::sqrt(float(head_dim));
    p.q = q, p.k = q + 2 * queries_, p.v = q + 2 * (queries_ + keys_);
    out = {output_.data(), lse_.data()};
  }

  DeviceProblem p;
  DeviceAttention out;  ///< room for float32
  double dense_flops;

 private:
  static constexpr int kQueryHeads = 32, kKvHeads = 8;
  std::size_t queries_, keys_;
  DeviceBuffer values_;  // Q, K and V
  DeviceVector<float> output_, lse_;
};

/// A mask of a case in device memory.
class CaseMask {
 public:
  CaseMask(const Case& c, BlockSize block)
      : grid_(grid_of(c, block)),
        heads_(c.p.shape.q_heads),
        bits_(std::size_t(heads_) * grid_.q_blocks() * grid_.words()) {}
  static BlockGrid grid_of(const Case& c, BlockSize block) {
    return {block, c.p.shape.q_len, c.p.shape.kv_len, true, std::nullopt};
  }
  MaskView view() const { return {grid_, heads_, bits_.data()}; }

 private:
  BlockGrid grid_;
  int heads_;
  DeviceVector<std::uint32_t> bits_;
};

/// Seconds of consecutive steps, as cells are timed: medians over samples with a cold L2.
class StepTimer {
 public:
  /// `written`: L2 is full of changed lines before each sample, instead of cold.
  explicit StepTimer(bool written);
  std::vector<double> median(const std::vector<std::function<void()>>& steps);

 private:
  DeviceBuffer written_;  // of more bytes than any L2 here; empty for a cold one
};

}  // namespace salebench::cuda
