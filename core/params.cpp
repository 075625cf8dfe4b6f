#include "core/params.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/nearest.h"

namespace salebench {
namespace {

template <class T>
bool parse_number(std::string_view text, T* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

Param::Param(std::string name, std::string help, double low, double high, double* target)
    : name_(std::move(name)), help_(std::move(help)), low_(low), high_(high), target_(target) {}
Param::Param(std::string name, std::string help, int low, int high, int* target)
    : name_(std::move(name)), help_(std::move(help)), low_(low), high_(high), target_(target) {}
Param::Param(std::string name, std::string help, double low, double high, Knob* target)
    : name_(std::move(name)), help_(std::move(help)), low_(low), high_(high), target_(target) {}
Param::Param(std::string name, std::string help, int low, int high, Knob* target)
    : name_(std::move(name)), help_(std::move(help)), low_(low), high_(high), whole_(true), target_(target) {}
Param::Param(std::string name, std::string help, bool* target)
    : name_(std::move(name)), help_(std::move(help)), target_(target) {}
Param::Param(std::string name, std::string help, std::vector<std::string> choices, std::string* target)
    : name_(std::move(name)), help_(std::move(help)), choices_(std::move(choices)), target_(target) {}

Param::Param(std::string name, std::string help, FreeText kind, std::string* target)
    : name_(std::move(name)),
      help_(std::move(help)),
      text_type_(kind == FreeText::path ? "path" : "name"),
      target_(target) {}

std::string Param::allowed() const {
  if (text_type_ != "choice") return "any";
  if (std::holds_alternative<bool*>(target_)) return "true, false";
  if (!choices_.empty()) return fmt::format("{}", fmt::join(choices_, ", "));
  return fmt::format("{} to {}", low_, high_);
}

std::string Param::type() const {
  if (knob()) return whole_ ? "int" : "float";
  static constexpr const char* kNames[] = {"float", "int", "bool"};
  return target_.index() < 3 ? kNames[target_.index()] : text_type_;
}

Knob* Param::knob() const {
  auto* const* knob = std::get_if<Knob*>(&target_);
  return knob ? *knob : nullptr;
}

void Param::parse(std::string_view text) {
  const auto fail = [&] {
    throw ParamError(fmt::format("{}: '{}' is not allowed: {} {}", name_, text, type(), allowed()));
  };
  double* const* number = std::get_if<double*>(&target_);
  if (double* target = knob() ? &knob()->value : number ? *number : nullptr) {
    double value = 0;
    if (!parse_number(text, &value) || !(value >= low_ && value <= high_)) fail();
    if (whole_ && value != std::floor(value)) fail();
    *target = value;
  } else if (auto** integer = std::get_if<int*>(&target_)) {
    int value = 0;
    if (!parse_number(text, &value) || value < low_ || value > high_) fail();
    **integer = value;
  } else if (auto** flag = std::get_if<bool*>(&target_)) {
    if (text != "true" && text != "false") fail();
    **flag = text == "true";
  } else {
    const auto choice = std::ranges::find(choices_, text);
    if (text_type_ == "choice" && choice == choices_.end()) fail();
    if (const auto* chosen = std::get_if<Choice>(&target_))
      chosen->set(std::size_t(choice - choices_.begin()));
    else
      *std::get<std::string*>(target_) = text;
  }
}

std::string Param::text() const {
  if (knob()) return fmt::format("{}", knob()->value);
  if (const auto* chosen = std::get_if<Choice>(&target_)) return choices_[chosen->get()];
  return std::visit(
      [](const auto& target) -> std::string {
        if constexpr (std::is_same_v<decltype(target), Knob* const&> || std::is_same_v<decltype(target), const Choice&>)
          return {};
        else
          return fmt::format("{}", *target);
      },
      target_);
}

Param calibration_file(std::string name, Knob* knob) {
  return {std::move(name), "values a head, from a file of `salebench calibrate`; they replace the one above",
          FreeText::path, &knob->file};
}

void set_params(Params& params, const ParamValues& values) {
  for (const auto& [name, text] : values) {
    const auto param = std::ranges::find(params, name, &Param::name);
    if (param == params.end()) {
      std::vector<std::string> names;
      for (const Param& p : params) names.push_back(p.name());
      throw ParamError(fmt::format("unknown parameter '{}'{}", name, did_you_mean(name, names)));
    }
    param->parse(text);
  }
}

ParamValues param_values(const Params& params) {
  ParamValues values;
  for (const Param& p : params) values[p.name()] = p.text();
  return values;
}

std::string param_text(const ParamValues& values) {
  std::string text;
  for (const auto& [name, value] : values) text += fmt::format("{}{}={}", text.empty() ? "" : " ", name, value);
  return text;
}

}  // namespace salebench
