#include "harness/params_json.h"

#include <algorithm>

#include "core/json_text.h"
#include "core/registry.h"

namespace salebench {

std::string params_json(const std::string& name, const ParamValues& values, const std::vector<std::string>& left_out) {
  nlohmann::json json = nlohmann::json::object();
  const auto method = make_method(name, values);
  for (const Param& param : method->params()) {
    if (std::ranges::find(left_out, param.name()) != left_out.end()) continue;
    const bool plain = param.type() == "float" || param.type() == "int" || param.type() == "bool";
    json[param.name()] = plain ? nlohmann::json::parse(param.text()) : nlohmann::json(param.text());
  }
  return json_text(json);
}

}  // namespace salebench
