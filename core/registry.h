// The list of methods. A file under methods/ registers its class with SALEBENCH_METHOD; nothing else names it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/method.h"

namespace salebench {

struct MethodInfo {
  std::string name;
  int version = 1;  ///< raised whenever the method's results change; part of every cell id
  std::string summary;
  std::unique_ptr<Method> (*make)() = nullptr;
  std::string plugin = {};  ///< file and hash of the plugin that it came from; empty for a built-in one
};

/// All registered methods, sorted by name.
const std::vector<MethodInfo>& methods();

/// Throws ParamError with the nearest name if there is no such method.
const MethodInfo& method_info(std::string_view name);

/// A method with the given parameters set. Throws ParamError for an unknown method or parameter, or a bad value.
std::unique_ptr<Method> make_method(std::string_view name, const ParamValues& values = {});

/// Adds a method; called by SALEBENCH_METHOD before main. Throws std::logic_error for a name that is taken.
bool register_method(MethodInfo info);

/// The methods that are registered while `load` runs, which are not added: a library that is being loaded must not see
/// its static constructors throw over a name that is taken.
std::vector<MethodInfo> registered_by(const std::function<void()>& load);

}  // namespace salebench

#define SALEBENCH_METHOD(Class, name, version, summary)                                 \
  static const bool registered_##Class [[maybe_unused]] = ::salebench::register_method( \
      {name, version, summary, []() -> std::unique_ptr<::salebench::Method> { return std::make_unique<Class>(); }})
