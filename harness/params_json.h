// A method's parameters as the JSON object of the column `params`.
#pragma once

#include <string>
#include <vector>

#include "core/params.h"

namespace salebench {

/// The parameters of a method with the given values set, but for those left out; numbers as numbers.
std::string params_json(const std::string& method, const ParamValues& values,
                        const std::vector<std::string>& left_out = {});

}  // namespace salebench
