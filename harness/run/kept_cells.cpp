#include "harness/run/kept_cells.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "harness/support/plugins.h"
#include "harness/support/provenance.h"
#include "kernels/cpu/simd.h"

namespace salebench {

void KeptCells::add(const CellRecord& r) {
  if (r.git_sha != git_revision()) stale_.insert(fmt::format("{} ({})", r.id, r.git_sha));
  if (is_another_build(r.method, r.plugin)) rebuilt_.insert(fmt::format("{} ({})", r.id, r.plugin));
  if (r.host != cpu_model() || r.simd != cpu::simd_name())
    elsewhere_.insert(fmt::format("{} ({}, {})", r.id, r.host.empty() ? "unknown CPU" : r.host, r.simd));
}

void KeptCells::warn() const {
  if (!elsewhere_.empty())
    spdlog::warn(
        "{} kept cells were measured elsewhere than on {}, {}, such as {}; tables keep them apart, --force measures "
        "them again",
        elsewhere_.size(), cpu_model(), cpu::simd_name(), *elsewhere_.begin());
  if (!rebuilt_.empty())
    spdlog::warn(
        "{} kept cells are from another build of their plugin, such as {}; --force measures them again, and so does a "
        "raised version in SALEBENCH_METHOD",
        rebuilt_.size(), *rebuilt_.begin());
  if (!stale_.empty())
    spdlog::warn("{} kept cells are from another commit than {}, such as {}; --force measures them again",
                 stale_.size(), git_revision(), *stale_.begin());
}

}  // namespace salebench
