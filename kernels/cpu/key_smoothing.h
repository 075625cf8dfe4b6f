// K less its mean over tokens: it shifts all logits of a row equally, so attention is unchanged, and what is left is
// smaller, which low-bit codes need.
#pragma once

#include <span>
#include <vector>

#include "core/problem.h"

namespace salebench::cpu {

/// The mean over rows of x [rows, dim], summed in double.
std::vector<float> channel_means(const float* x, int rows, int dim);

/// The mean of K over tokens, [kv_heads, head_dim].
std::vector<float> key_means(const HostProblem& problem);

/// K minus its mean over tokens, per KV head.
std::vector<float> smooth_keys(const HostProblem& problem);

/// The same with the means given, into a vector that may be reused.
void smooth_keys(const HostProblem& problem, std::span<const float> means, std::vector<float>& smoothed);

/// Adds sign * scale * q . mean to the log-sum-exp [q_heads, q_len] of scale * q . k: with -1 it becomes that of the
/// keys less their mean, with +1 it goes back.
void shift_lse(const HostProblem& problem, std::span<const float> means, float sign, std::span<float> lse);

}  // namespace salebench::cpu
