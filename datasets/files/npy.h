// NumPy's .npy: a magic, a Python dict that describes one array, and its bytes.
#pragma once

#include <memory>
#include <string>

#include "datasets/files/tensor_file.h"

namespace salebench {

/// What a .npy header says, and where the data begin.
struct NpyArray {
  TensorInfo info;  ///< without a name
  std::uint64_t data_begin = 0;
};

/// Reads the header of a .npy of version 1 to 3 and checks that the bytes after it are the array, no more and no
/// less. Float16, float32, float64 and, as ml_dtypes writes it, bfloat16 (<V2); little-endian, C order. Throws
/// DataError for everything else. `where` names the array in messages.
NpyArray read_npy(ByteSource& bytes, const std::string& where);

/// A .npy file as a TensorFile of one nameless tensor. Throws DataError.
std::unique_ptr<TensorFile> open_npy(const std::string& path);

}  // namespace salebench
