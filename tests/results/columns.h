// Setting the columns of a record off their defaults, one at a time, for round trips.
#pragma once

#include <fmt/format.h>

#include <string>
#include <type_traits>

#include "results/column.h"

namespace salebench {

inline void change(std::string& value) {
  value += "x";
}
inline void change(bool& value) {
  value = !value;
}
template <class Number>
void change(Number& value) {
  value = Number(std::is_floating_point_v<Number> ? 0.375 : value + 3);
}

/// The record with one column changed.
template <class Record>
Record with_changed(const Column<Record>& column, Record record) {
  column.visit(record, [](auto& value) { change(value); });
  return record;
}

template <class Record>
std::string text_of(const Column<Record>& column, const Record& record) {
  std::string text;
  column.visit(record, [&](const auto& value) { text = fmt::format("{}", value); });
  return text;
}

}  // namespace salebench
