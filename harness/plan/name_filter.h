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

/// What --only and --skip name.
struct Choice {
  std::vector<std::string> only;  ///< all if empty
  std::vector<std::string> skip;
};

/// Selects things that go by an id and a label: those that some `only` names, without those that some `skip` names. A
/// label such as "sale bits=4 | p 128" is known by what is left of the bar too, and as sale.
class ChoiceFilter {
 public:
  /// names: all ids and labels.
  ChoiceFilter(Choice choice, const std::vector<std::string>& names);
  bool operator()(const std::string& id, const std::string& label) const;

  /// For each text that names nothing, why: "nothing matches --only 'sael' (did you mean 'sale'?)".
  std::vector<std::string> complaints() const;

 private:
  const Choice choice_;
  const std::vector<std::string> names_;
  std::vector<NameFilter> only_, skip_;
};

}  // namespace salebench
