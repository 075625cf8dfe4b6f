// Names as the command line and configs give them: exact, or as globs.
#pragma once

#include <string>
#include <vector>

namespace salebench {

/// Selects what is called exactly so, where there is such a name, and else all that the text matches as a glob: a name
/// such as layers[3] is a glob that does not match itself. An empty text selects all.
class NameFilter {
 public:
  NameFilter(std::string text, const std::vector<std::string>& names);
  bool operator()(const std::string& name) const;

 private:
  std::string text_;
  bool exact_;
};

}  // namespace salebench
