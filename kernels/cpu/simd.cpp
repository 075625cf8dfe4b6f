#include "kernels/cpu/simd.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <stdexcept>

#include "hwy/highway.h"

namespace salebench::cpu {
namespace {

std::vector<std::int64_t> targets() {
  hwy::SetSupportedTargetsForTest(0);
  return hwy::SupportedAndGeneratedTargets();
}

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return char(std::tolower(c)); });
  return text;
}

/// The set that set_simd asked for; 0 for the best there is.
std::int64_t& chosen() {
  static std::int64_t target = 0;
  return target;
}

}  // namespace

std::vector<std::string> simd_names() {
  std::vector<std::string> names;
  for (const std::int64_t target : targets()) names.emplace_back(hwy::TargetName(target));
  hwy::SetSupportedTargetsForTest(chosen());
  return names;
}

std::string simd_name() {
  return chosen() ? hwy::TargetName(chosen()) : simd_names().front();
}

void set_simd(const std::string& name) {
  const auto all = targets();
  const auto found =
      std::ranges::find_if(all, [&](std::int64_t t) { return lower(hwy::TargetName(t)) == lower(name); });
  if (!name.empty() && found == all.end())
    throw std::invalid_argument(
        fmt::format("instruction set '{}' is not available here: {}", name, fmt::join(simd_names(), ", ")));
  chosen() = name.empty() ? 0 : *found;
  hwy::SetSupportedTargetsForTest(chosen());
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace salebench::cpu
