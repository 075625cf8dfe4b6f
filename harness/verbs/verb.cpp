#include "harness/verbs/verb.h"

#include <algorithm>
#include <filesystem>

#include "core/json_text.h"

namespace salebench {
namespace {

std::vector<std::unique_ptr<Verb>>& registered() {
  static std::vector<std::unique_ptr<Verb>> all;
  return all;
}

}  // namespace

std::vector<Verb*> verbs() {
  std::vector<Verb*> all;
  for (const auto& verb : registered()) all.push_back(verb.get());
  std::ranges::sort(all, {}, &Verb::name);
  return all;
}

void require_utf8(const std::string& command_line) {
  if (!is_utf8(command_line))
    throw UsageError("an argument is not UTF-8, in which results hold names and notes; rename or rewrite it");
  if (const std::string here = std::filesystem::current_path(); !is_utf8(here))
    throw UsageError("the name of the current folder is not UTF-8, in which results hold paths; run in another");
}

bool register_verb(std::unique_ptr<Verb> verb) {
  registered().push_back(std::move(verb));
  return true;
}

}  // namespace salebench
