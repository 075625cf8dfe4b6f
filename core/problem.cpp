#include "core/problem.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <stdexcept>
#include <vector>

namespace salebench {

void Shape::check() const {
  for (const auto& [name, value] : {std::pair{"q_heads", q_heads},
                                    {"kv_heads", kv_heads},
                                    {"q_len", q_len},
                                    {"kv_len", kv_len},
                                    {"head_dim", head_dim}})
    if (value <= 0) throw std::invalid_argument(fmt::format("{} is {}, but must be positive", name, value));
  if (q_heads % kv_heads != 0)
    throw std::invalid_argument(
        fmt::format("{} query heads can't share {} KV heads: the second must divide the first", q_heads, kv_heads));
  if (q_len > kv_len)
    throw std::invalid_argument(
        fmt::format("q_len {} is more than kv_len {}: queries are the last tokens", q_len, kv_len));
}

std::string attention_text(const ProblemInfo& p) {
  std::vector<std::string> parts;
  if (!p.causal) parts.emplace_back("not causal");
  if (p.sliding_window > 0) parts.push_back(fmt::format("window {}", p.sliding_window));
  if (p.first_key > 0) parts.push_back(fmt::format("from key {}", p.first_key));
  if (p.softcap > 0) parts.push_back(fmt::format("softcap {:g}", p.softcap));
  if (p.sinks) parts.emplace_back("sinks");
  return fmt::format("{}", fmt::join(parts, ", "));
}

}  // namespace salebench
