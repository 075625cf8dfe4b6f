#include "harness/plan/honoured.h"

#include <fmt/format.h>

#include "harness/plan/backends.h"

namespace salebench {

void require_honoured(const Method& method, const ProblemInfo& problem, const Shape& shape) {
  if (problem.softcap > 0)
    throw Unsupported(
        fmt::format("the layer caps its logits (softcap {:g}), which no kernel here does", problem.softcap));
  if (problem.sinks) throw Unsupported("the layer has attention sinks, which no kernel here knows");
  if (problem.sliding_window > 0 && problem.sliding_window < shape.kv_len && !method.honours_sliding_window())
    throw Unsupported(fmt::format("the layer has a sliding window of {} tokens, and the method reads all earlier keys",
                                  problem.sliding_window));
  method.check(shape, problem.causal);
}

std::string why_unsupported(const Method& method, const ProblemInfo& problem, const Shape& shape,
                            const std::string& backend) {
  try {
    require_honoured(method, problem, shape);
    return backend_called(backend).why_not(method, problem, shape);
  } catch (const Unsupported& why) {
    return why.what();
  }
}

}  // namespace salebench
