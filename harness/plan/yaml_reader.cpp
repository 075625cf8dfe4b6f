#include "harness/plan/yaml_reader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <set>

#include "core/nearest.h"

namespace salebench {
namespace {

template <class Number>
bool parse_number(const std::string& text, Number* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

YamlMap::YamlMap(const YamlDocument& document, const YAML::Node& node, std::string key_path)
    : document_(document), node_(node), path_(std::move(key_path)) {
  if (!node_.IsDefined() || node_.IsNull()) return;
  if (!node_.IsMap()) document_.fail(node_, path_, "must be a map of keys");
  std::set<std::string> keys;
  for (const auto& entry : node_)
    if (const std::string& key = entry.first.Scalar(); !keys.insert(key).second)
      document_.fail(entry.first, path_of(key), "is there twice");
}

bool YamlMap::has(const std::string& key) {
  if (std::ranges::find(asked_, key) == asked_.end()) asked_.push_back(key);
  const YAML::Node& map = node_;
  return map.IsMap() && map[key].IsDefined();
}

YAML::Node YamlMap::required(const std::string& key) {
  if (!has(key)) document_.fail(node_, path_of(key), "is missing");
  return node_[key];
}

YamlMap YamlMap::map(const std::string& key) {
  return {document_, has(key) ? node_[key] : YAML::Node(YAML::NodeType::Map), path_of(key)};
}

double YamlMap::number(const std::string& key, double otherwise, double low, double high) {
  if (!has(key)) return otherwise;
  double value = 0;
  if (!node_[key].IsScalar() || !parse_number(node_[key].Scalar(), &value))
    document_.fail(node_[key], path_of(key), "must be a number");
  if (!(value >= low && value <= high))
    document_.fail(node_[key], path_of(key), fmt::format("{} is outside {} to {}", value, low, high));
  return value;
}

int YamlMap::integer(const std::string& key, int otherwise, int low, int high) {
  if (has(key) && !node_[key].IsScalar()) document_.fail(node_[key], path_of(key), "must be a whole number");
  return integers(key, {otherwise}, low, high).at(0);
}

std::string YamlMap::text(const std::string& key, const std::string& otherwise) {
  if (!has(key)) return otherwise;
  if (!node_[key].IsScalar()) document_.fail(node_[key], path_of(key), "must be one value");
  return node_[key].Scalar();
}

std::string YamlMap::choice(const std::string& key, const std::string& otherwise,
                            const std::vector<std::string>& allowed) {
  if (has(key)) text(key, otherwise);  // refuses a list
  return choices(key, otherwise, allowed).front();
}

std::vector<std::string> YamlMap::choices(const std::string& key, const std::string& otherwise,
                                          const std::vector<std::string>& allowed) {
  std::vector<std::string> values = texts(key, {otherwise});
  for (const std::string& value : values)
    if (std::ranges::find(allowed, value) == allowed.end())
      document_.fail(node_[key], path_of(key), fmt::format("'{}' is not one of {}", value, fmt::join(allowed, ", ")));
  return values;
}

std::vector<std::string> YamlMap::texts(const std::string& key, const std::vector<std::string>& otherwise) {
  if (!has(key)) return otherwise;
  const YAML::Node value = node_[key];
  if (value.IsScalar()) return {value.Scalar()};
  if (!value.IsSequence() || value.size() == 0)
    document_.fail(value, path_of(key), "must be a value or a list of values");
  std::vector<std::string> list;
  for (const YAML::Node& item : value) {
    if (!item.IsScalar()) document_.fail(item, path_of(key), "must be a list of plain values");
    list.push_back(item.Scalar());
  }
  return list;
}

std::vector<std::string> YamlMap::axis(const std::string& key, const std::vector<std::string>& otherwise, bool whole) {
  if (!has(key) || !node_[key].IsMap()) return texts(key, otherwise);
  constexpr int kMostSteps = 1000;
  YamlMap range = map(key);
  for (const char* needed : {"from", "to", "steps"}) range.required(needed);
  const double least = std::numeric_limits<double>::lowest(), most = std::numeric_limits<double>::max();
  const double from = range.number("from", 0, least, most), to = range.number("to", 0, least, most);
  const int steps = range.integer("steps", 2, 2, kMostSteps);
  const bool log = range.choice("scale", "linear", {"linear", "log"}) == "log";
  range.done();
  if (log && !(from > 0 && to > 0))
    document_.fail(node_[key], path_of(key), "with scale: log both ends must be above 0");
  if (whole && (from != std::round(from) || to != std::round(to)))
    document_.fail(node_[key], path_of(key), "is of whole numbers, and so are the ends of its range");
  std::vector<std::string> list;
  for (int i = 0; i < steps; ++i) {
    const double share = double(i) / (steps - 1);
    const double value = i == 0           ? from
                         : i == steps - 1 ? to
                         : log            ? from * std::pow(to / from, share)
                                          : from + share * (to - from);
    const bool is_end = i == 0 || i == steps - 1;
    list.push_back(whole    ? fmt::format("{:.0f}", value)
                   : is_end ? fmt::format("{}", value)
                            : fmt::format("{:.4g}", value));
  }
  std::set<std::string> seen;
  std::erase_if(list, [&](const std::string& value) { return !seen.insert(value).second; });
  return list;
}

std::vector<int> YamlMap::integers(const std::string& key, const std::vector<int>& otherwise, int low, int high) {
  if (!has(key)) return otherwise;
  std::vector<int> list;
  for (const std::string& item : axis(key, {}, true)) {
    int value = 0;
    if (!parse_number(item, &value))
      document_.fail(node_[key], path_of(key), fmt::format("'{}' is not a whole number", item));
    if (value < low || value > high)
      document_.fail(node_[key], path_of(key), fmt::format("{} is outside {} to {}", value, low, high));
    list.push_back(value);
  }
  return list;
}

void YamlMap::done() const {
  if (!node_.IsMap()) return;
  for (const auto& entry : node_) {
    const std::string key = entry.first.Scalar();
    if (std::ranges::find(asked_, key) != asked_.end() || (path_.empty() && holds_anchors(key))) continue;
    document_.fail(entry.first, path_of(key), "unknown key" + did_you_mean(key, asked_));
  }
}

}  // namespace salebench
