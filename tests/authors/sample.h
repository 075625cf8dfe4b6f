// The bundled capture for tests that pin figures: a problem, a method's mask on it, and the mask's accuracy.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "core/metrics.h"
#include "core/registry.h"
#include "datasets/dataset.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/mask_recall.h"

namespace salebench {

inline constexpr const char* kSampleCapture = SALEBENCH_SOURCE_DIR "/datasets/samples/smollm2-135m_kjv_8k.h5";

/// Three heads of SmolLM2-135M, 8192 tokens.
inline const ProblemTensors& sample_problem() {
  static const ProblemTensors tensors = Dataset(kSampleCapture).load("layer17_kv1");
  return tensors;
}

/// The mask of a method's tuned selection.
inline BlockMask select_mask(const ProblemTensors& p, const std::string& name, const ParamValues& values) {
  const auto method = make_method(name, values);
  method->check(p.shape, p.causal);
  method->prepare(p.view(), "sample");
  BlockMask mask(grid_of(*method, p.view()), p.shape.q_heads);
  method->select_fast(p.view(), mask.view());
  return mask;
}

/// Accuracy of exact attention over a mask of sample_problem(), over all rows.
inline ProblemAccuracy sample_accuracy(const BlockMask& mask) {
  const ProblemTensors& p = sample_problem();
  static const Truth truth = compute_truth(p.view(), sample_rows(p.shape.q_len, 0, 1));
  AttentionResult result(p.shape);
  cpu::block_sparse_attention(p.view(), mask.view(), result.view());
  return measure_accuracy(p.shape, truth, mask.view(), result.output,
                          cpu::mask_recall(p.view(), mask.view(), truth.rows, truth.lse));
}

/// Expects these means over the heads, of a method's mask of sample_problem(): density within 0.3 %, recall within
/// 5e-4.
inline void expect_figures(const std::string& name, const ParamValues& values, double density, double recall) {
  const ProblemAccuracy a = sample_accuracy(select_mask(sample_problem(), name, values));
  double mean_density = 0, mean_recall = 0;
  for (const Accuracy& head : a.heads) {
    mean_density += head.density / double(a.heads.size());
    mean_recall += head.recall_mean / double(a.heads.size());
  }
  EXPECT_NEAR(mean_density, density, 0.003 * density);
  EXPECT_NEAR(mean_recall, recall, 5e-4);
}

}  // namespace salebench
