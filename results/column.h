// A column of a table: a name for a member of a record, wherever in the record it stands. Tables, plan.json and the
// documentation are made of columns, so that a fact has one place.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace salebench {

/// The member at the end of a path of member pointers: follow<R, &R::problem, &ProblemInfo::id>(record).
template <class Record, auto... kPath>
auto& follow(Record& record) {
  return (record.*....*kPath);
}

template <class Record>
struct Column {
  template <class Value>
  using Inner = Value& (*)(Record&);  ///< made by follow()

  const char* name;
  const char* unit;  ///< "" for none
  const char* meaning;
  /// Texts, whole numbers and doubles. All whole numbers are stored as int64, as truth values are.
  std::variant<std::string Record::*, std::int64_t Record::*, double Record::*, Inner<std::string>, Inner<int>,
               Inner<bool>, Inner<double>>
      member;

  /// Calls visitor(value) with the column's value of a record.
  template <class Visitor>
  void visit(Record& record, const Visitor& visitor) const {
    std::visit([&](auto of) { visitor(std::invoke(of, record)); }, member);
  }
  template <class Visitor>
  void visit(const Record& record, const Visitor& visitor) const {
    visit(const_cast<Record&>(record), [&](auto& value) { visitor(std::as_const(value)); });
  }
};

/// The columns of a record type, in file order.
template <class Record>
const std::vector<Column<Record>>& columns();

}  // namespace salebench
