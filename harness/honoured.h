// Whether what a layer does to its attention is done here too.
#pragma once

#include <string>

#include "core/method.h"
#include "core/problem.h"

namespace salebench {

/// Throws Unsupported naming what the method, or any kernel here, does not do of the attention of a problem, seen at a
/// shape.
void require_honoured(const Method& method, const ProblemInfo& problem, const Shape& shape);

/// How the attention of a problem differs from plain causal attention, for people: "window 512, softcap 50"; empty for
/// plain.
std::string attention_text(const ProblemInfo& problem);

}  // namespace salebench
