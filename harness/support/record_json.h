// Records as JSON, by their columns.
#pragma once

#include <nlohmann/json.hpp>

#include "results/column.h"

namespace salebench {

/// Adds the columns of a record to a JSON object. NaN becomes null once that is text.
template <class Record>
nlohmann::json json_of(const Record& record, nlohmann::json json = {}) {
  for (const auto& column : columns<Record>())
    column.visit(record, [&](const auto& value) { json[column.name] = value; });
  return json;
}

}  // namespace salebench
