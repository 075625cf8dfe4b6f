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

ChoiceFilter::ChoiceFilter(Choice choice, std::vector<std::string> names)
    : choice_(std::move(choice)), names_(std::move(names)) {
  for (const std::string& text : choice_.only) only_.emplace_back(text, names_);
  for (const std::string& text : choice_.skip) skip_.emplace_back(text, names_);
}

bool ChoiceFilter::operator()(const std::string& id, const std::string& label) const {
  const auto names_it = [&](const NameFilter& filter) { return filter(id) || filter(label); };
  return (only_.empty() || std::ranges::any_of(only_, names_it)) && std::ranges::none_of(skip_, names_it);
}

std::vector<std::string> ChoiceFilter::complaints() const {
  std::vector<std::string> all, candidates = names_;
  for (const std::string& name : names_)  // "sale bits=4 | p 128" is also known by what is left of the bar, and as sale
    for (const char* const end : {" | ", " "}) candidates.push_back(name.substr(0, name.find(end)));
  const auto check = [&](const char* option, const std::vector<std::string>& texts,
                         const std::vector<NameFilter>& filters) {
    for (std::size_t i = 0; i < texts.size(); ++i) {
      if (std::ranges::any_of(names_, filters[i])) continue;
      std::string near = did_you_mean(texts[i], candidates);
      if (near.find("did you mean") == std::string::npos) near = "; --dry-run lists what there is";
      all.push_back(fmt::format("nothing matches {} '{}'{}", option, texts[i], near));
    }
  };
  check("--only", choice_.only, only_), check("--skip", choice_.skip, skip_);
  return all;
}

}  // namespace salebench
