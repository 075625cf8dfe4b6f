#include "harness/plan/open_capture.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <set>

namespace salebench {

Dataset open_capture(const std::string& path) {
  static std::set<std::string> warned;
  Dataset dataset(path);
  if (!dataset.unknown_names().empty() && warned.insert(path).second)
    spdlog::warn("{}: its problems say '{}', which is not known here, so results are as without it", path,
                 fmt::join(dataset.unknown_names(), "', '"));
  return dataset;
}

}  // namespace salebench
