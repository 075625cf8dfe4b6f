// SALE's quantisation: int8-stored codes of Q and K with shared scales, and the exact bias that Q's mean leaves behind.
#pragma once

#include <cstdint>
#include <vector>

#include "core/problem.h"

namespace salebench::cpu {

/// Codes of one problem, in the layout the scan reads. Estimated logit of query row i and key j, without the softmax
/// scale: q_scale_i * k_scale_j * (q_i . k_j + rint(bias_j / q_scale_i)). Source: SALE section 3.2, per-thread groups.
struct SaleCodes {
  int quads = 0;                    ///< head_dim / 4, rounded up; the rest of a code row is zero
  int panels = 0;                   ///< ceil(kv_len / 32)
  std::vector<std::int8_t> q;       ///< [q_heads, q_len, 4 quads]
  std::vector<float> q_scale;       ///< [q_heads, q_len]
  std::vector<std::int32_t> k;      ///< [kv_heads, panels, quads, 32 keys]: four codes a word, the first lowest
  std::vector<float> k_scale;       ///< [kv_heads, 32 panels]
  std::vector<std::int32_t> k_sum;  ///< [kv_heads, 32 panels]: sum of a key's codes
  std::vector<float> bias;          ///< [q_heads, 32 panels]: (mean of q) . k_j / k_scale_j
};

/// The mean over rows of x [rows, dim], summed in double.
std::vector<float> channel_means(const float* x, int rows, int dim);

/// K minus its mean over tokens, per KV head: shifts all logits of a row equally, so attention is unchanged.
std::vector<float> smooth_keys(const HostProblem& problem);

/// Codes with values in [-levels, levels] (7 for 4 bits, 127 for 8). Q's mean is taken out first if smooth_q.
SaleCodes quantize(const HostProblem& problem, int levels, bool smooth_q);

}  // namespace salebench::cpu
