// Parameters of a method as JSON, as results hold them.
#pragma once

#include <string>
#include <vector>

#include "core/params.h"

namespace salebench {

/// {"name": value}: numbers and truth values as such, all else as text; without the parameters `left_out`.
std::string params_json(const Params& params, const std::vector<std::string>& left_out = {});

/// The values in such a text.
ParamValues param_values_of(const std::string& json);

}  // namespace salebench
