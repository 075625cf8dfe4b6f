#include "core/registry.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include "core/nearest.h"

namespace salebench {
namespace {

std::vector<MethodInfo>& registry() {
  static std::vector<MethodInfo> list;
  return list;
}

std::vector<MethodInfo>* pending = nullptr;  ///< what takes registrations instead, while registered_by() runs

}  // namespace

std::vector<MethodInfo> registered_by(const std::function<void()>& load) {
  std::vector<MethodInfo> found;
  pending = &found;
  try {
    load();
  } catch (...) {
    pending = nullptr;
    throw;
  }
  pending = nullptr;
  return found;
}

bool register_method(MethodInfo info) {
  if (pending) {
    pending->push_back(std::move(info));
    return true;
  }
  auto& list = registry();
  const auto place = std::ranges::lower_bound(list, info.name, {}, &MethodInfo::name);
  if (place != list.end() && place->name == info.name)
    throw std::logic_error(fmt::format("two methods are registered as '{}'", info.name));
  list.insert(place, std::move(info));
  return true;
}

const std::vector<MethodInfo>& methods() {
  return registry();
}

const MethodInfo& method_info(std::string_view name) {
  const auto found = std::ranges::find(registry(), name, &MethodInfo::name);
  if (found != registry().end()) return *found;
  std::vector<std::string> names;
  for (const MethodInfo& m : registry()) names.push_back(m.name);
  throw ParamError(fmt::format("unknown method '{}'{}", name, did_you_mean(name, names)));
}

std::unique_ptr<Method> make_method(std::string_view name, const ParamValues& values) {
  std::unique_ptr<Method> method = method_info(name).make();
  Params params = method->all_params();
  for (const auto& value : values) {
    set_params(params, {value});
    // Again: what is allowed may depend on the values before, as a correction's on its base.
    params = method->all_params();
  }
  return method;
}

}  // namespace salebench
