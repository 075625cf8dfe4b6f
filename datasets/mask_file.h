// Block masks in files: what `save: [masks]` and datasets/masks.py write, and .npz archives of boolean arrays.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/block_mask.h"

namespace salebench {

/// A mask as stored: [heads, q_blocks, words], bit b of word w is key block 32 w + b, words = ceil(k_blocks / 32).
struct StoredMask {
  BlockSize block;
  int heads = 0, q_blocks = 0, k_blocks = 0;
  std::optional<Window> window;
  std::vector<std::uint32_t> bits;

  int words() const { return (k_blocks + 31) / 32; }
};

/// Reads /masks/<name>/bits of an HDF5 file, or the boolean array `name` [heads, q_blocks, k_blocks] of a .npz, whose
/// tiles are of size `block`. Throws DataError, naming the masks that the file has, if there is none of this name.
StoredMask read_mask(const std::string& path, const std::string& name, BlockSize block);

/// 16 hex digits that identify the content of a file. Throws DataError if it can't be read.
std::string file_fingerprint(const std::string& path);

}  // namespace salebench
