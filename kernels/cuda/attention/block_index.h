// A block mask unpacked to lists of kept key chunks, in device memory: what the attention kernel walks along.
#pragma once

#include "kernels/cuda/device/device_problem.h"

namespace salebench::cuda {

/// Lists of 32-key chunks, one a query block of a head, ascending and padded to a multiple of four, at least four, with
/// a number past all keys. The list of (head, q_block) starts at head * head_stride + first_chunk(q_block).
struct BlockIndex {
  BlockGrid grid;
  int heads = 0;
  std::int64_t head_stride = 0;     ///< entries between the lists of two heads
  std::uint16_t* chunks = nullptr;  ///< [heads, head_stride]
  std::int32_t* counts = nullptr;   ///< [heads, q_blocks]: chunks in a list, padding not counted
  std::int32_t* order = nullptr;    ///< [heads * q_blocks]: head * q_blocks + q_block in the order of work: one KV head
                                    ///< after the other, so that its K and V stay in L2; within it longest lists first
  void* scratch = nullptr;          ///< for the kernel that walks along; only one at a time
};

/// Bytes of scratch memory for attention of so many query heads: counters of the work that was taken, what must be done
/// again, and copies of each KV head's last chunk. It must have been cleared once; attention leaves it clear.
std::size_t attention_scratch_bytes(const BlockGrid& grid, int heads);
void clear_attention_scratch(const BlockGrid& grid, int heads, void* scratch, Stream stream);

/// Bytes of workspace that build_block_index needs: about 2 for each 32-key chunk that dense attention would visit.
std::size_t block_index_bytes(const BlockGrid& grid, int heads);

/// Unpacks a mask on the device. The result points into the workspace. Throws std::invalid_argument for a tile that
/// why_unsupported names or more than 2 million keys.
BlockIndex build_block_index(MaskView mask, int kv_heads, void* workspace, Stream stream);

}  // namespace salebench::cuda
