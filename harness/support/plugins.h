// Methods from shared libraries: a plugin is a library whose SALEBENCH_METHOD lines add to the registry when it is
// loaded. docs/plugins.md says how one is built.
#pragma once

#include <string>
#include <vector>

namespace salebench {

struct Plugin {
  std::string path;  ///< absolute, without symbolic links
  std::string hash;  ///< of the file

  /// "/home/me/libmine.so 0123456789abcdef"
  std::string text() const { return path + " " + hash; }
};

/// Loads a plugin, which stays until the program ends; one that is loaded already is left as it is. Throws UsageError
/// for a file that is missing, no shared library, no plugin, built for another program or without methods, and for a
/// method whose name is taken.
void load_plugin(const std::string& path);

/// Those of SALEBENCH_PLUGINS, whose paths are separated by colons, then `paths`. Throws UsageError.
void load_plugins(const std::vector<std::string>& paths);

/// Those that a stored run was made with, but for such of which a file with the same name is loaded: a plugin may have
/// moved, and is then named anew. Throws UsageError.
void load_remembered_plugins(const std::vector<std::string>& paths);

/// All that are loaded, in order.
const std::vector<Plugin>& plugins();

/// Their paths.
std::vector<std::string> plugin_paths();

/// The plugin that a method came from, as Plugin::text(); empty for a built-in or unknown one.
std::string plugin_of(const std::string& method);

/// Whether results of a method, which came from `stored` (a Plugin::text(), or empty), are of other code than the
/// method that is registered now; a file that only moved is the same.
bool is_another_build(const std::string& method, const std::string& stored);

}  // namespace salebench
