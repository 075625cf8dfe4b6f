// NumPy's .npz: a zip archive of .npy files.
#pragma once

#include <memory>
#include <string>

#include "datasets/files/tensor_file.h"

namespace salebench {

/// Opens what np.savez or np.savez_compressed wrote; the tensors are its members, without their .npy. Throws DataError
/// for a damaged archive.
std::unique_ptr<TensorFile> open_npz(const std::string& path);

}  // namespace salebench
