// Attention of one row tile on AMX: bfloat16 tile products with float32 sums, softmax in AVX-512 in between.
#pragma once

#include <memory>

#include "kernels/cpu/amx/pack.h"
#include "kernels/cpu/attention_tile.h"

namespace salebench::cpu {

struct TilePrograms;

inline constexpr int kAmxRowTile = 128;  ///< query rows that one task works on at a time

struct AmxTask : RowTask {
  const float* q = nullptr;  ///< [rows, head_dim], rows at most kAmxRowTile
  int kv_head = 0;
  float factor = 1.0f;  ///< scale * log2(e)
  const AmxKeysValues* kv = nullptr;
  const float* next_q = nullptr;  ///< [rows, head_dim], or null: what this thread is likely to read next
};

/// Buffers that a thread reuses from task to task.
struct AmxWorkspace {
  AlignedBuffer memory;
  std::shared_ptr<TilePrograms> programs;  ///< of the last shape
};

/// Needs amx_available() and a TileScope on this thread.
void amx_attend_tile(const AmxTask& task, AmxWorkspace& work);

}  // namespace salebench::cpu
