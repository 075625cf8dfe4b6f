// What a capture may say of a problem, and what would change its logits without being heeded.
#pragma once

#include <string>
#include <vector>

#include "core/hdf5.h"

namespace salebench {

/// Looks at the names of a problem's attributes and datasets. Returns those that nothing here knows, which are not
/// heeded. Throws DataError, naming the cure, for names of what changes attention and is not heeded (a bias, ALiBi,
/// QK-norm left to do, a mask, ...), unless the value says that there is none or that it is done.
std::vector<std::string> check_attributes(const h5::Group& problem);

/// Attributes are read of problems only. Throws DataError if among `names`, those of another object of the capture, is
/// one that says what attention is.
void refuse_attention_attributes(const std::vector<std::string>& names, const std::string& where);

}  // namespace salebench
