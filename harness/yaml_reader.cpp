#include "harness/yaml_reader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "core/nearest.h"

namespace salebench {
namespace {

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  for (std::size_t end = text.find(separator); end != std::string::npos; end = text.find(separator, begin)) {
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  parts.push_back(text.substr(begin));
  return parts;
}

template <class Number>
bool parse_number(const std::string& text, Number* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

YamlDocument::YamlDocument(const std::string& path, const std::vector<std::string>& overrides) : path_(path) {
  if (std::error_code unknown; std::filesystem::is_directory(path, unknown))
    throw UsageError(fmt::format("cannot open {}: it is a folder", path));
  try {
    root_ = YAML::LoadFile(path);
  } catch (const YAML::BadFile&) {
    throw UsageError(fmt::format("cannot open {}", path));
  } catch (const YAML::ParserException& error) {
    throw UsageError(fmt::format("{}:{}:{}: {}", path, error.mark.line + 1, error.mark.column + 1, error.msg));
  }
  if (!root_.IsMap()) throw UsageError(fmt::format("{}: not a map of keys, as a config must be", path));
  for (const std::string& text : overrides) apply(text);
}

void YamlDocument::apply(const std::string& override_text) {
  const std::size_t equals = override_text.find('=');
  if (equals == std::string::npos || equals == 0)
    throw UsageError(fmt::format("--set {}: write it as key=value, such as measure.max_time=5", override_text));
  const std::string key_path = override_text.substr(0, equals);
  YAML::Node node = root_;
  for (const std::string& key : split(key_path, '.')) {
    // reset() makes `node` refer to the child; assignment would overwrite the parent's value.
    if (node.IsSequence()) {
      std::size_t index = 0;
      if (!parse_number(key, &index) || index >= node.size())
        throw UsageError(fmt::format("--set {}: '{}' is not an index of a list of {}", key_path, key, node.size()));
      node.reset(node[index]);
    } else if (node.IsDefined() && node.IsScalar()) {
      throw UsageError(fmt::format("--set {}: what '{}' should be in is a plain value", key_path, key));
    } else {
      node.reset(node[key]);
    }
  }
  try {
    node = YAML::Load(override_text.substr(equals + 1));
  } catch (const YAML::ParserException& error) {
    throw UsageError(fmt::format("--set {}: {}", override_text, error.msg));
  }
  overridden_.push_back(key_path);
}

std::string YamlDocument::text() const {
  YAML::Emitter out;
  out << root_;
  return out.c_str();
}

void YamlDocument::fail(const YAML::Node& node, const std::string& key_path, const std::string& what) const {
  const YAML::Mark mark = node.Mark();
  for (const std::string& path : overridden_)
    if (key_path == path || key_path.starts_with(path + ".") || (mark.is_null() && path.starts_with(key_path + ".")))
      throw UsageError(fmt::format("--set {}: {}", key_path, what));
  const std::string place = mark.is_null() ? path_ : fmt::format("{}:{}:{}", path_, mark.line + 1, mark.column + 1);
  throw UsageError(fmt::format("{}: {}{}{}", place, key_path, key_path.empty() ? "" : ": ", what));
}

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

std::vector<int> YamlMap::integers(const std::string& key, const std::vector<int>& otherwise, int low, int high) {
  if (!has(key)) return otherwise;
  std::vector<int> list;
  for (const std::string& item : texts(key, {})) {
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
    if (std::ranges::find(asked_, key) != asked_.end()) continue;
    document_.fail(entry.first, path_of(key), "unknown key" + did_you_mean(key, asked_));
  }
}

}  // namespace salebench
