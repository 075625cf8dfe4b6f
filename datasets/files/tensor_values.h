// The tensors of a capture as float32, whatever type they are stored in.
#pragma once

#include <string>
#include <vector>

#include "core/hdf5.h"

namespace salebench {

/// "float16", "bfloat16" or "float32". bfloat16 may be stored as such, as uint16, or as two bytes of no type (h5py
/// writes ml_dtypes' so); the latter two need the attribute dtype = bfloat16. Throws DataError naming any other type,
/// and where that attribute contradicts the type.
std::string tensor_dtype(const h5::Group& group, const std::string& name);

/// The values, exact. Throws DataError as above, and h5::Error where they can't be read.
std::vector<float> tensor_values(const h5::Group& group, const std::string& name);

}  // namespace salebench
