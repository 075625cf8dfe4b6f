#include "harness/honoured.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <vector>

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

std::string attention_text(const ProblemInfo& p) {
  std::vector<std::string> parts;
  if (!p.causal) parts.emplace_back("not causal");
  if (p.sliding_window > 0) parts.push_back(fmt::format("window {}", p.sliding_window));
  if (p.first_key > 0) parts.push_back(fmt::format("padding {}", p.first_key));
  if (p.softcap > 0) parts.push_back(fmt::format("softcap {:g}", p.softcap));
  if (p.sinks) parts.emplace_back("sinks");
  return fmt::format("{}", fmt::join(parts, ", "));
}

}  // namespace salebench
