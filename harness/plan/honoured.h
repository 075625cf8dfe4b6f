// Whether what a layer does to its attention is done here too.
#pragma once

#include <string>

#include "core/method.h"
#include "core/problem.h"

namespace salebench {

/// Throws Unsupported naming what the method, or any kernel here, does not do of the attention of a problem, seen at a
/// shape.
void require_honoured(const Method& method, const ProblemInfo& problem, const Shape& shape);

/// Why a method, as it is parametrised, does not run a problem at a shape on a backend; empty if it does.
std::string why_unsupported(const Method& method, const ProblemInfo& problem, const Shape& shape,
                            const std::string& backend);

}  // namespace salebench
