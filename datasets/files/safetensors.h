// Hugging Face's .safetensors: a length, a JSON header that describes the tensors, and their bytes.
#pragma once

#include <memory>
#include <string>

#include "datasets/files/tensor_file.h"

namespace salebench {

/// Opens a .safetensors file. As the format demands, its tensors must fill the data without gaps and overlaps. F16,
/// BF16, F32 and F64 can be imported. Throws DataError for a damaged file.
std::unique_ptr<TensorFile> open_safetensors(const std::string& path);

}  // namespace salebench
