// One task of the skipping attention kernel: a block of query rows of one head against a list of key blocks.
#pragma once

#include <vector>

#include "kernels/cpu/packed.h"

namespace salebench::cpu {

inline constexpr int kMaxSkipRows = 128;   ///< query rows of a task
inline constexpr int kMaxSkipPanels = 32;  ///< panels of a key block

struct SkipTask {
  const float* q = nullptr;  ///< [rows padded, head_dim], already times scale * log2(e)
  int rows = 0, dim = 0;
  const PackedHead* kv = nullptr;
  int block_k = 0;         ///< keys in a key block
  int first_position = 0;  ///< token position of the first row
  bool causal = true;
  int kv_len = 0;
  int sliding_window = 0;   ///< see HostProblem
  float reach = 0;          ///< see SkipRule
  int group_rows = 0;       ///< see SkipRule
  int always_last = 0;      ///< see SkipRule
  float* output = nullptr;  ///< [rows, head_dim], or null
  float* lse = nullptr;     ///< [rows], or null for the decisions alone

  int key_begin(int row) const { return first_key_in_window(first_position + row, sliding_window); }
  int key_end(int row) const { return causal ? first_position + row + 1 : kv_len; }
};

/// Buffers that a thread reuses from task to task, and what a task lists and finds.
struct SkipWorkspace {
  std::vector<float> queries, scores, sums;
  std::vector<int> visits;     ///< key blocks, in the order of the visit
  std::vector<char> computed;  ///< of each visit: whether any group computed it
};

void skip_tile(const SkipTask& task, SkipWorkspace& work);

}  // namespace salebench::cpu
