#include "harness/support/plugins.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <sstream>

#include "core/plugin_abi.h"
#include "core/registry.h"
#include "datasets/mask_file.h"
#include "harness/support/elf_section.h"
#include "harness/support/errors.h"

namespace salebench {
namespace {

namespace fs = std::filesystem;

constexpr const char* kBuildIt = "build it with salebench_add_plugin(), as docs/plugins.md shows";

std::vector<Plugin>& loaded() {
  static std::vector<Plugin> list;
  return list;
}

std::string file_name(const std::string& path) {
  return fs::path(path).filename();
}

/// The text is read from the file, as dlopen() would run the static constructors at once: those of a plugin with
/// another idea of MethodInfo could crash before anything were compared.
void require_abi(const std::string& path) {
  std::optional<std::string> section;
  try {
    section = elf_section(path, kAbiSection, sizeof(AbiText));
  } catch (const NoSharedLibrary& error) {
    throw UsageError(fmt::format("plugin {} {}: {}", path, error.what(), kBuildIt));
  }
  if (!section) throw UsageError(fmt::format("{} is a shared library, but no plugin: {}", path, kBuildIt));
  static constexpr AbiText kOwn = abi_text();
  const std::string theirs = section->substr(0, section->find('\0')), own = kOwn.data();
  if (theirs != own)
    throw UsageError(fmt::format(
        "plugin {} was built for another program: it wants [{}], this is [{}]; build it again with the installed "
        "package of this program and the same compiler",
        path, theirs, own));
}

/// Throws UsageError if a method has the name already.
void require_free(const MethodInfo& info, const std::string& path) {
  const auto taken = std::ranges::find(methods(), info.name, &MethodInfo::name);
  if (taken == methods().end()) return;
  throw UsageError(fmt::format("plugin {} registers a method '{}', but {} has that name: rename it in SALEBENCH_METHOD",
                               path, info.name,
                               taken->plugin.empty() ? "a built-in one" : "one of plugin " + taken->plugin));
}

}  // namespace

void load_plugin(const std::string& path) {
  std::error_code missing;
  const std::string file = fs::canonical(path, missing);
  if (missing) throw UsageError(fmt::format("plugin {}: {}; name the file that was built", path, missing.message()));
  if (!fs::is_regular_file(file)) throw UsageError(fmt::format("plugin {} is no file; name the library itself", path));
  if (std::ranges::find(loaded(), file, &Plugin::path) != loaded().end()) return;
  require_abi(file);
  const Plugin plugin = {file, file_fingerprint(file)};
  const std::vector<MethodInfo> added = registered_by([&] {
    if (!::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL))
      throw UsageError(
          fmt::format("plugin {} cannot be loaded: {}; link what it calls, or build it again", file, ::dlerror()));
  });
  if (added.empty()) throw UsageError(fmt::format("plugin {} has no method: add a line SALEBENCH_METHOD", file));
  for (MethodInfo info : added) {
    require_free(info, file);
    info.plugin = plugin.text();
    register_method(std::move(info));
  }
  loaded().push_back(plugin);
}

void load_plugins(const std::vector<std::string>& paths) {
  if (const char* const list = std::getenv("SALEBENCH_PLUGINS")) {
    std::istringstream words(list);
    for (std::string path; std::getline(words, path, ':');)
      if (!path.empty()) load_plugin(path);
  }
  for (const std::string& path : paths) load_plugin(path);
}

void load_remembered_plugins(const std::vector<std::string>& paths) {
  const std::vector<Plugin> given = loaded();
  for (const std::string& path : paths) {
    const auto same = [&](const Plugin& plugin) { return file_name(plugin.path) == file_name(path); };
    if (std::ranges::none_of(given, same)) load_plugin(path);
  }
}

const std::vector<Plugin>& plugins() {
  return loaded();
}

std::vector<std::string> plugin_paths() {
  std::vector<std::string> paths;
  for (const Plugin& plugin : loaded()) paths.push_back(plugin.path);
  return paths;
}

std::string plugin_of(const std::string& method) {
  const auto found = std::ranges::find(methods(), method, &MethodInfo::name);
  return found == methods().end() ? "" : found->plugin;
}

bool is_another_build(const std::string& method, const std::string& stored) {
  const auto hash = [](const std::string& text) { return text.substr(text.rfind(' ') + 1); };
  return hash(stored) != hash(plugin_of(method));
}

}  // namespace salebench
