#include "harness/plan/name_filter.h"

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>

#include "core/nearest.h"

namespace salebench {

NameFilter::NameFilter(std::string text, const std::vector<std::string>& names)
    : text_(std::move(text)), exact_(std::ranges::find(names, text_) != names.end()) {}

bool NameFilter::operator()(const std::string& name) const {
  return exact_ ? name == text_ : text_.empty() || ::fnmatch(text_.c_str(), name.c_str(), 0) == 0;
}

namespace {

std::vector<std::string> known_as(const std::string& label) {
  std::vector<std::string> names = {label};
  for (const char* const end : {" | ", " "})
    if (const std::string name = label.substr(0, label.find(end)); name != names.back()) names.push_back(name);
  return names;
}

std::vector<std::string> all_known_as(const std::vector<std::string>& labels) {
  std::vector<std::string> all;
  for (const std::string& label : labels)
    for (const std::string& name : known_as(label)) all.push_back(name);
  return all;
}

}  // namespace

ChoiceFilter::ChoiceFilter(Choice choice, const std::vector<std::string>& names)
    : choice_(std::move(choice)), names_(all_known_as(names)) {
  for (const std::string& text : choice_.only) only_.emplace_back(text, names_);
  for (const std::string& text : choice_.skip) skip_.emplace_back(text, names_);
}

bool ChoiceFilter::operator()(const std::string& id, const std::string& label) const {
  const std::vector<std::string> labels = known_as(label);
  const auto names_it = [&](const NameFilter& filter) { return filter(id) || std::ranges::any_of(labels, filter); };
  return (only_.empty() || std::ranges::any_of(only_, names_it)) && std::ranges::none_of(skip_, names_it);
}

std::vector<std::string> ChoiceFilter::complaints() const {
  std::vector<std::string> all;
  const auto check = [&](const char* option, const std::vector<std::string>& texts,
                         const std::vector<NameFilter>& filters) {
    for (std::size_t i = 0; i < texts.size(); ++i) {
      if (std::ranges::any_of(names_, filters[i])) continue;
      std::string near = did_you_mean(texts[i], names_);
      if (near.find("did you mean") == std::string::npos) near = "; --dry-run lists what there is";
      all.push_back(fmt::format("nothing matches {} '{}'{}", option, texts[i], near));
    }
  };
  check("--only", choice_.only, only_), check("--skip", choice_.skip, skip_);
  return all;
}

}  // namespace salebench
