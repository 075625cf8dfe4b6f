// YAML files with merge keys filled in and overrides applied; maps are read by yaml_reader.cpp.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "core/json_text.h"
#include "harness/plan/yaml_reader.h"

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

bool is_key(const YAML::Node& key, const std::string& name) {
  return key.IsScalar() && key.Scalar() == name;
}

using ResolvedPaths = std::vector<std::pair<YAML::Node, std::string>>;

/// A copy without anchors and aliases: what several places share is written out at each of them.
YAML::Node written_out(const YAML::Node& node, const ResolvedPaths& paths) {
  if (!node.IsMap() && !node.IsSequence()) {
    const auto path = std::ranges::find_if(paths, [&](const auto& pair) { return pair.first.is(node); });
    return path == paths.end() ? YAML::Clone(node) : YAML::Node(path->second);
  }
  YAML::Node copy(node.Type());
  copy.SetStyle(node.Style());
  for (const auto& item : node) {
    if (node.IsMap())
      copy.force_insert(written_out(item.first, paths), written_out(item.second, paths));
    else
      copy.push_back(written_out(item, paths));
  }
  return copy;
}

}  // namespace

bool holds_anchors(const std::string& key) {
  return key.starts_with("x-");
}

YamlDocument::YamlDocument(const std::string& path, const std::vector<std::string>& overrides) : path_(path) {
  if (std::error_code unknown; std::filesystem::is_directory(path, unknown))
    throw UsageError(fmt::format("cannot open {}: it is a folder", path));
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file) throw UsageError(fmt::format("cannot open {}", path));
  if (!is_utf8(text)) throw UsageError(fmt::format("{}: not UTF-8, as a config must be", path));
  std::vector<YAML::Node> documents;
  try {
    documents = YAML::LoadAll(text);
  } catch (const YAML::ParserException& error) {
    throw UsageError(fmt::format("{}:{}:{}: {}", path, error.mark.line + 1, error.mark.column + 1, error.msg));
  }
  if (documents.size() > 1)
    fail(documents[1], "", "a second document begins (---); a config is one document, so make two files");
  if (documents.empty() || !documents[0].IsMap())
    throw UsageError(fmt::format("{}: not a map of keys, as a config must be", path));
  root_ = documents[0];
  fill_merges(root_, "");
  for (const std::string& text : overrides) apply(text);
}

void YamlDocument::fill_merges(YAML::Node node, const std::string& key_path) {
  if (!node.IsMap() && !node.IsSequence()) return;
  const auto is_node = [&](const YAML::Node& other) { return other.is(node); };
  if (std::ranges::any_of(open_, is_node)) fail(node, key_path, "refers to itself");
  if (std::ranges::any_of(filled_, is_node)) return;
  open_.push_back(node);
  std::vector<YAML::Node> merged;  // what << names, the first of which wins
  int index = 0;
  for (const auto& item : node) {
    const YAML::Node value = node.IsMap() ? item.second : item;
    const std::string name = node.IsMap() ? item.first.Scalar() : std::to_string(index++);
    const std::string item_path = key_path.empty() ? name : fmt::format("{}.{}", key_path, name);
    fill_merges(value, item_path);
    if (!node.IsMap() || !is_key(item.first, "<<")) continue;
    if (!merged.empty()) fail(item.first, item_path, "is there twice; merge several with a list");
    if (value.IsSequence())
      for (const YAML::Node& map : value) merged.push_back(map);
    else
      merged.push_back(value);
    for (const YAML::Node& map : merged)
      if (!map.IsMap()) fail(value, item_path, "merges a map of keys, or a list of such maps");
  }
  if (node.IsMap()) node.remove("<<");
  const YAML::Node& own = node;  // looking up a key that is missing would add it to one that isn't const
  for (const YAML::Node& map : merged)
    for (const auto& entry : map)
      if (!own[entry.first.Scalar()].IsDefined()) node.force_insert(entry.first, entry.second);
  open_.pop_back();
  filled_.push_back(node);
}

YAML::Node YamlDocument::with_value(const YAML::Node& node, std::span<const std::string> keys,
                                    const std::string& key_path, const YAML::Node& value) {
  if (keys.empty()) return value;
  const std::string& key = keys[0];
  const bool is_list = node.IsDefined() && node.IsSequence();
  std::size_t index = 0;
  if (is_list) {
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), index);
    if (error != std::errc() || end != key.data() + key.size() || index >= node.size())
      throw UsageError(fmt::format("--set {}: '{}' is not an index of a list of {}", key_path, key, node.size()));
  } else if (node.IsDefined() && node.IsScalar()) {
    throw UsageError(fmt::format("--set {}: what '{}' should be in is a plain value", key_path, key));
  }
  YAML::Node copy(is_list ? YAML::NodeType::Sequence : YAML::NodeType::Map);
  if (node.IsDefined()) copy.SetStyle(node.Style()), copies_.emplace_back(copy, mark_of(node));
  bool found = false;
  const auto changed = [&](const YAML::Node& old) {
    found = true;
    return with_value(old, keys.subspan(1), key_path, value);
  };
  for (const auto& item : node) {
    if (is_list)
      copy.push_back(copy.size() == index ? changed(item) : YAML::Node(item));
    else
      copy.force_insert(item.first, is_key(item.first, key) && !found ? changed(item.second) : item.second);
  }
  if (!found) copy.force_insert(key, changed(YAML::Node()));
  return copy;
}

void YamlDocument::apply(const std::string& override_text) {
  const std::size_t equals = override_text.find('=');
  if (equals == std::string::npos || equals == 0)
    throw UsageError(fmt::format("--set {}: write it as key=value, such as measure.max_time=5", override_text));
  const std::string key_path = override_text.substr(0, equals);
  const std::vector<std::string> keys = split(key_path, '.');
  if (holds_anchors(keys[0]))
    throw UsageError(fmt::format("--set {}: nothing reads the keys x-...; set the value where it is used", key_path));
  std::vector<YAML::Node> values;
  try {
    values = YAML::LoadAll(override_text.substr(equals + 1));
  } catch (const YAML::ParserException& error) {
    throw UsageError(fmt::format("--set {}: {}", override_text, error.msg));
  }
  if (values.size() > 1) throw UsageError(fmt::format("--set {}: is more than one value", key_path));
  const YAML::Node value = values.empty() ? YAML::Node() : values[0];
  overridden_.push_back(key_path);
  fill_merges(value, key_path);
  root_.reset(with_value(root_, keys, key_path, value));  // assigning would change what the old root shares
}

void YamlDocument::set_default(const std::string& key, const std::string& value) {
  const YAML::Node& root = root_;
  if (!root[key].IsDefined()) root_.force_insert(key, value);
}

std::string YamlDocument::text() const {
  YAML::Emitter out;
  out << written_out(root_, paths_);
  return out.c_str();
}

YAML::Mark YamlDocument::mark_of(const YAML::Node& node) const {
  if (!node.Mark().is_null()) return node.Mark();
  const auto copy = std::ranges::find_if(copies_, [&](const auto& pair) { return pair.first.is(node); });
  return copy == copies_.end() ? YAML::Mark::null_mark() : copy->second;
}

void YamlDocument::fail(const YAML::Node& node, const std::string& key_path, const std::string& what) const {
  const YAML::Mark mark = mark_of(node);
  for (const std::string& path : overridden_)
    if (key_path == path || key_path.starts_with(path + ".") || (mark.is_null() && path.starts_with(key_path + ".")))
      throw UsageError(fmt::format("--set {}: {}", key_path, what));
  const std::string place = mark.is_null() ? path_ : fmt::format("{}:{}:{}", path_, mark.line + 1, mark.column + 1);
  throw UsageError(fmt::format("{}: {}{}{}", place, key_path, key_path.empty() ? "" : ": ", what));
}

}  // namespace salebench
