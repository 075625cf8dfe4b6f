// Why a call to HDF5 failed, in words: what its error stack says, and what the system knows of a file.
#pragma once

#include <string>

namespace salebench::h5 {

/// Why the file could not be opened. To be called before any other call of HDF5.
std::string why_not_opened(const std::string& path);

/// Why the values of a dataset could not be read. To be called before any other call of HDF5.
std::string why_not_read();

}  // namespace salebench::h5
