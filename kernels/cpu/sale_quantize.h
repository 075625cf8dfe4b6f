// SALE's quantisation: int8-stored codes of Q and K with shared scales, and the exact bias that Q's mean leaves behind.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/problem.h"

namespace salebench::cpu {

/// Which rows share a scale: those that one thread holds in an MMA tile (rows i and i + 8 of each 16 queries; keys of
/// equal (j mod 8) / 2 in each 32), or none.
enum class ScaleGroups { thread, token };

/// Codes of one problem, in the layout the scan reads. Estimated logit of query row i and key j, without the softmax
/// scale: q_scale_i * k_scale_j * (q_i . k_j + rint(bias_j / q_scale_i)) with scales by thread, and
/// q_scale_i * k_scale_j * (q_i . k_j) + bias_j with scales by token. Source: SALE section 3.2 and the authors' modes
/// 3, 2.
struct SaleCodes {
  ScaleGroups groups = ScaleGroups::thread;
  int quads = 0;                    ///< head_dim / 4, rounded up; the rest of a code row is zero
  int panels = 0;                   ///< ceil(kv_len / 32)
  std::vector<std::int8_t> q;       ///< [q_heads, q_len, 4 quads]
  std::vector<float> q_scale;       ///< [q_heads, q_len]
  std::vector<std::int32_t> k;      ///< [kv_heads, panels, quads, 32 keys]: four codes a word, the first lowest
  std::vector<float> k_scale;       ///< [kv_heads, 32 panels]
  std::vector<std::int32_t> k_sum;  ///< [kv_heads, 32 panels]: sum of a key's codes
  std::vector<float> bias;          ///< [q_heads, 32 panels]: (mean of q) . k_j, by thread in units of k_scale_j
};

/// Q and K rounded to fp8 and back, in the problem's shapes. Estimated logit of query row i and key j: q_i . k_j +
/// bias_j.
struct Fp8Operands {
  std::vector<float> q, k;
  std::vector<float> bias;  ///< [q_heads, kv_len rounded up to 32]: (mean of q) . k_j
};

/// Number format of a row of values with one scale.
enum class RowFormat { int8, fp8 };

/// Codes with values in [-levels, levels] (7 for 4 bits, 127 for 8). Q's mean is taken out first if smooth_q.
/// `codes` may hold those of an earlier call, whose memory is used again.
void quantize(const HostProblem& problem, int levels, bool smooth_q, ScaleGroups groups, SaleCodes& codes);

/// e4m3 with one scale a query row and a key: largest value / 448. Q's mean is taken out first if smooth_q.
Fp8Operands quantize_fp8(const HostProblem& problem, bool smooth_q);

/// Rounds each row of x [rows, dim] to the format and back, with the scale largest value / 127 or / 448.
void round_rows(float* x, int rows, int dim, RowFormat format);

}  // namespace salebench::cpu
