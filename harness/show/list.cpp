#include "harness/show/list.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "core/json_text.h"
#include "core/registry.h"
#include "datasets/dataset.h"
#include "datasets/truth_cache.h"
#include "harness/plan/open_capture.h"
#include "harness/support/provenance.h"
#include "harness/support/record_json.h"
#include "results/schema.h"

namespace salebench {
namespace {

std::vector<std::string> captures_below(const std::string& folder) {
  std::vector<std::string> paths;
  std::error_code missing;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder, missing))
    if (entry.path().extension() == ".h5") paths.push_back(entry.path());
  std::ranges::sort(paths);
  return paths;
}

}  // namespace

std::string list_datasets(std::vector<std::string> paths, bool json) {
  if (paths.empty()) paths = captures_below("datasets");
  if (paths.empty()) throw DataError("no captures below ./datasets; name one");
  nlohmann::json all = nlohmann::json::array();
  std::string text;
  for (const std::string& path : paths) {
    const Dataset dataset = open_capture(path);
    text += path + "\n";
    for (const ProblemInfo& p : dataset.problems()) {
      const Shape& s = p.shape;
      text += fmt::format("  {:<20} {}/{} heads, {} x {} tokens, head_dim {}, {}{}, {}\n", p.id, s.q_heads, s.kv_heads,
                          s.q_len, s.kv_len, s.head_dim, p.dtype,
                          attention_text(p).empty() ? "" : ", " + attention_text(p), p.model);
      all.push_back(json_of(p, {{"path", path}, {"problem", p.id}}));
    }
  }
  return json ? json_text(all, 1) + "\n" : text;
}

std::string info_text() {
  const auto all = nlohmann::json::parse(provenance_json());
  std::string text;
  for (const auto& [section, values] : all.items())
    for (const auto& [name, value] : values.items())
      text += fmt::format("{:<24} {}\n", fmt::format("{}.{}", section, name),
                          value.is_string() ? value.get<std::string>() : json_text(value));
  const auto [files, bytes] = TruthCache(TruthCache::default_folder()).size();
  text += fmt::format("{:<24} {}\n", "truth cache",
                      fmt::format("{}, {} files, {:.1f} MB", TruthCache::default_folder(), files, double(bytes) / 1e6));
  text += fmt::format("{:<24} ", "methods");
  for (const MethodInfo& info : methods()) text += fmt::format("{} ", info.name);
  return text + "\n";
}

}  // namespace salebench
