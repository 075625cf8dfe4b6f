// Captures as the verbs open them.
#pragma once

#include <string>

#include "datasets/dataset.h"

namespace salebench {

/// Opens a capture, and warns, once a file, of what it says that is not heeded. Throws DataError.
Dataset open_capture(const std::string& path);

}  // namespace salebench
