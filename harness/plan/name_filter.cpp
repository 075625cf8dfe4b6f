#include "harness/plan/name_filter.h"

#include <fnmatch.h>

#include <algorithm>

namespace salebench {

NameFilter::NameFilter(std::string text, const std::vector<std::string>& names)
    : text_(std::move(text)), exact_(std::ranges::find(names, text_) != names.end()) {}

bool NameFilter::operator()(const std::string& name) const {
  return exact_ ? name == text_ : text_.empty() || ::fnmatch(text_.c_str(), name.c_str(), 0) == 0;
}

}  // namespace salebench
