#include "harness/plan/params_json.h"

#include <algorithm>

#include "core/json_text.h"

namespace salebench {

std::string params_json(const Params& params, const std::vector<std::string>& left_out) {
  nlohmann::json json = nlohmann::json::object();
  for (const Param& param : params) {
    if (std::ranges::find(left_out, param.name()) != left_out.end()) continue;
    const bool plain = param.type() == "float" || param.type() == "int" || param.type() == "bool";
    json[param.name()] = plain ? nlohmann::json::parse(param.text()) : nlohmann::json(param.text());
  }
  return json_text(json);
}

ParamValues param_values_of(const std::string& json) {
  const auto parsed = nlohmann::json::parse(json);
  ParamValues values;
  for (const auto& [name, value] : parsed.items())
    values[name] = value.is_string() ? value.get<std::string>() : value.dump();
  return values;
}

}  // namespace salebench
