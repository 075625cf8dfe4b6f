#include "kernels/cpu/simd.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <stdexcept>

#include "hwy/highway.h"
#include "kernels/cpu/amx/support.h"

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

/// What set_simd asked for.
struct Choice {
  std::int64_t target = 0;  ///< 0 for the best there is
  bool amx = amx_available();
};
Choice& chosen() {
  static Choice choice;
  return choice;
}

}  // namespace

std::vector<std::string> simd_names() {
  std::vector<std::string> names;
  if (amx_available()) names.emplace_back("AMX");
  for (const std::int64_t target : targets()) names.emplace_back(hwy::TargetName(target));
  hwy::SetSupportedTargetsForTest(chosen().target);
  return names;
}

std::string simd_name() {
  if (use_amx()) return "AMX";
  return chosen().target ? hwy::TargetName(chosen().target) : simd_names().front();
}

bool use_amx() {
  return chosen().amx;
}

void set_simd(const std::string& name) {
  const auto all = targets();
  const bool amx = amx_available() && (name.empty() || lower(name) == "amx");
  const auto found =
      std::ranges::find_if(all, [&](std::int64_t t) { return lower(hwy::TargetName(t)) == lower(name); });
  if (!name.empty() && !amx && found == all.end())
    throw std::invalid_argument(
        fmt::format("instruction set '{}' is not available here: {}", name, fmt::join(simd_names(), ", ")));
  chosen() = {found == all.end() ? 0 : *found, amx};
  hwy::SetSupportedTargetsForTest(chosen().target);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace salebench::cpu
