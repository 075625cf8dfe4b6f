// Strict reading of YAML: every key must be known, every value of its type, and every error says where.
#pragma once

#include <yaml-cpp/yaml.h>

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "harness/support/errors.h"

namespace salebench {

/// Whether a top-level key, x-..., only holds anchors for others to use.
bool holds_anchors(const std::string& key);

/// A YAML file with merge keys (<<) filled in and `--set` overrides applied, each to one place: other users of an alias
/// keep what they have. Messages start with "file:line:column: path" or "--set path".
class YamlDocument {
 public:
  /// Throws UsageError for a missing file, bad YAML, a second document or an override that is not path=value.
  YamlDocument(const std::string& path, const std::vector<std::string>& overrides);

  /// Gives a top-level key a value where the document has none.
  void set_default(const std::string& key, const std::string& value);

  const YAML::Node& root() const { return root_; }
  const std::string& path() const { return path_; }
  /// The whole document, overrides included, aliases and merges written out, paths as resolved() has them.
  std::string text() const;
  /// Keeps what the path in a node of this document leads to, so that text() means the same in another folder.
  void resolved(const YAML::Node& node, const std::string& path) const { paths_.emplace_back(node, path); }

  [[noreturn]] void fail(const YAML::Node& node, const std::string& key_path, const std::string& what) const;

 private:
  /// Gives a map, and all below it, the keys that its << names.
  void fill_merges(YAML::Node node, const std::string& key_path);
  void apply(const std::string& override_text);
  /// The node with a value below it replaced. Nodes on the way are copied, since aliases may share them.
  YAML::Node with_value(const YAML::Node& node, std::span<const std::string> keys, const std::string& key_path,
                        const YAML::Node& value);
  YAML::Mark mark_of(const YAML::Node& node) const;

  std::string path_;
  YAML::Node root_;
  std::vector<std::string> overridden_;                    ///< key paths
  std::vector<YAML::Node> open_, filled_;                  ///< of fill_merges()
  std::vector<std::pair<YAML::Node, YAML::Mark>> copies_;  ///< where what was copied stands in the file
  mutable std::vector<std::pair<YAML::Node, std::string>> paths_;
};

/// A map of a document, read key by key; done() then refuses the keys that nobody asked for.
class YamlMap {
 public:
  YamlMap(const YamlDocument& document, const YAML::Node& node, std::string key_path);

  bool has(const std::string& key);
  /// The node under a key; fails if it is missing.
  YAML::Node required(const std::string& key);
  YamlMap map(const std::string& key);  ///< an empty map if the key is missing

  double number(const std::string& key, double otherwise, double low, double high);
  int integer(const std::string& key, int otherwise, int low, int high);
  std::string text(const std::string& key, const std::string& otherwise);
  std::string choice(const std::string& key, const std::string& otherwise, const std::vector<std::string>& allowed);
  /// A choice or a list of them, as a list.
  std::vector<std::string> choices(const std::string& key, const std::string& otherwise,
                                   const std::vector<std::string>& allowed);
  /// A scalar or a list of scalars, as a list.
  std::vector<std::string> texts(const std::string& key, const std::vector<std::string>& otherwise);
  /// The same, or a range of numbers, {from: 0.05, to: 0.4, steps: 8, scale: log}: ends included, to four digits, whole
  /// ones rounded, each once.
  std::vector<std::string> axis(const std::string& key, const std::vector<std::string>& otherwise, bool whole);
  std::vector<int> integers(const std::string& key, const std::vector<int>& otherwise, int low, int high);

  std::string path_of(const std::string& key) const { return path_.empty() ? key : path_ + "." + key; }
  const YamlDocument& document() const { return document_; }
  const YAML::Node& node() const { return node_; }
  /// Fails on the first key that was never asked for, naming the nearest one that was.
  void done() const;

 private:
  const YamlDocument& document_;
  YAML::Node node_;
  std::string path_;
  std::vector<std::string> asked_;
};

}  // namespace salebench
