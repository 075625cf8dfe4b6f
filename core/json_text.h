// JSON as text. JSON is UTF-8, and file names, attributes and log lines need not be.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace salebench {

/// The text of a value; bytes that are no UTF-8 become U+FFFD. Indented by `indent` spaces, or on one line if -1.
inline std::string json_text(const nlohmann::json& value, int indent = -1) {
  return value.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// A text as UTF-8: the same, but for bytes that are none.
inline std::string utf8_text(const std::string& text) {
  return nlohmann::json::parse(json_text(text)).get<std::string>();
}

/// Whether JSON can hold the text as it is.
inline bool is_utf8(const std::string& text) {
  try {
    return !nlohmann::json(text).dump().empty();
  } catch (const nlohmann::json::type_error&) {
    return false;
  }
}

}  // namespace salebench
