// A method's parameters: one declaration feeds the YAML check, `salebench list`, cell ids and result columns.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace salebench {

/// A value that does not fit a parameter; the message names the parameter, the value and what is allowed.
struct ParamError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// What a text parameter holds that is not one of a few choices. A path is relative to the config that names it, and
/// the content of its file counts as part of the parameter.
enum class FreeText { path, name };

/// Values of a parameter by their names; the first is no default.
template <class Value>
using Choices = std::vector<std::pair<std::string, Value>>;

/// The scalar by which a method trades density for error: one value for all heads, or one a head, from a file that
/// `salebench calibrate` wrote. A method indexes it by query head.
struct Knob {
  enum class Trend { keeps_more, keeps_less };

  double value = 0;
  std::vector<double> typical{};     ///< from sparse to nearly dense, for a sweep of every method
  Trend larger = Trend::keeps_more;  ///< what a larger value does to the mask: never the opposite
  bool per_head = true;              ///< false where all heads must share the value
  std::string file{};                ///< calibration file; empty for none
  std::vector<double> of_head{};     ///< [q_heads], read from the file before prepare(); empty: `value` for all

  double operator[](int head) const { return of_head.empty() ? value : of_head[std::size_t(head)]; }
  /// One value a head.
  std::vector<double> values(int heads) const {
    return of_head.empty() ? std::vector<double>(std::size_t(heads), value) : of_head;
  }
};

/// One parameter: a name, a help line, what is allowed, and the variable it sets. The variable's value at declaration
/// is the default, so a method writes it once, as its member initialiser.
class Param {
 public:
  Param(std::string name, std::string help, double low, double high, double* target);
  Param(std::string name, std::string help, int low, int high, int* target);
  Param(std::string name, std::string help, double low, double high, Knob* target);
  Param(std::string name, std::string help, int low, int high, Knob* target);  ///< whole numbers only
  Param(std::string name, std::string help, bool* target);
  Param(std::string name, std::string help, std::vector<std::string> choices, std::string* target);
  /// A few values with their names, such as those of an enumeration.
  template <class Value>
  Param(std::string name, std::string help, Choices<Value> choices, Value* target)
      : Param(std::move(name), std::move(help), std::vector<std::string>(), static_cast<std::string*>(nullptr)) {
    Choice choice;
    choice.set = [choices, target](std::size_t place) { *target = choices[place].second; };
    choice.get = [choices, target] {
      return std::size_t(std::ranges::find(choices, *target, &std::pair<std::string, Value>::second) - choices.begin());
    };
    for (const auto& [text, value] : choices) choices_.push_back(text);
    target_ = choice;
  }
  Param(std::string name, std::string help, FreeText kind, std::string* target);

  const std::string& name() const { return name_; }
  const std::string& help() const { return help_; }
  std::string allowed() const;  ///< "0 to 1", "true, false" or the choices
  std::string type() const;     ///< "float", "int", "bool", "choice", "path" or "name"
  double low() const { return low_; }
  double high() const { return high_; }
  /// The knob that this parameter sets; null for any other parameter.
  Knob* knob() const;

  /// Sets the variable. Throws ParamError for text that is not of the type or out of range.
  void parse(std::string_view text);
  /// The variable's value as canonical text: parse(text()) changes nothing, and equal values have equal text.
  std::string text() const;

 private:
  std::string name_, help_;
  double low_ = 0, high_ = 0;
  std::vector<std::string> choices_;
  std::string text_type_ = "choice";
  bool whole_ = false;  // of a knob: only whole numbers
  /// A variable that holds one of choices_, by place.
  struct Choice {
    std::function<void(std::size_t)> set;
    std::function<std::size_t()> get;
  };
  std::variant<double*, int*, bool*, std::string*, Knob*, Choice> target_;
};

/// The parameter for the knob's calibration file; by convention its name is the knob's in the plural.
Param calibration_file(std::string name, Knob* knob);

using Params = std::vector<Param>;
/// Parameter names and canonical values, sorted by name.
using ParamValues = std::map<std::string, std::string>;

/// Sets the named parameters; the others keep their values. Throws ParamError for an unknown name or a bad value.
void set_params(Params& params, const ParamValues& values);
/// The present values of all parameters.
ParamValues param_values(const Params& params);
/// "budget=0.1 sink=1", for people.
std::string param_text(const ParamValues& values);

}  // namespace salebench
