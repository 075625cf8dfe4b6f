// SALE's estimate of the QK map as the paper writes it, one entry at a time: what the tuned scans are checked against.
#pragma once

#include <string>
#include <vector>

#include "core/problem.h"
#include "kernels/cpu/sale_quantize.h"

namespace salebench::sale {

/// Codes of one head, as numbers, with the scale of each row.
struct PlainCodes {
  std::vector<float> code;   // [rows, head_dim]
  std::vector<float> scale;  // [rows]
};

/// What an estimate multiplies.
enum class Codes { int4, int8, fp8, exact };

/// Estimated logits S~ of one head, without the softmax scale. fp8 has a scale a row, as the scales by token have.
class Estimate {
 public:
  Estimate(const HostProblem& p, int head, Codes codes, cpu::ScaleGroups groups, bool smooth_q);

  double operator()(int row, int key) const;

 private:
  const float *q_, *k_;
  int dim_;
  bool exact_, by_thread_;
  std::vector<float> bias_;  // [kv_len]: (mean of q) . k_j
  PlainCodes q_codes_, k_codes_;
};

}  // namespace salebench::sale
