// A column of a table: a name for a member of a record, wherever in the record it stands. Tables, plan.json and the
// documentation are made of columns, so that a fact has one place.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/metrics.h"

namespace salebench {

/// The member at the end of a path of member pointers: follow<R, &R::problem, &ProblemInfo::id>(record).
template <class Record, auto... kPath>
auto& follow(Record& record) {
  return (record.*....*kPath);
}

/// A figure of one of the accuracies that a record holds.
template <class Record>
struct FigureOf {
  Accuracy Record::*accuracy;
  double Accuracy::*figure;

  double& operator()(Record& record) const { return record.*accuracy.*figure; }
};

template <class Record>
struct Column {
  template <class Value>
  using Inner = Value& (*)(Record&);  ///< made by follow()
  /// Texts, whole numbers and doubles. All whole numbers are stored as int64, as truth values are.
  using Member =
      std::variant<std::string Record::*, std::int64_t Record::*, int Record::*, double Record::*, FigureOf<Record>,
                   Inner<std::string>, Inner<std::uint64_t>, Inner<int>, Inner<bool>, Inner<double>>;

  std::string name;
  std::string unit;  ///< "" for none
  std::string meaning;
  Member member;
  std::string label;  ///< in plots and tables for people; "" for the name

  Column(std::string name, std::string unit, std::string meaning, Member member, std::string label = "")
      : name(std::move(name)),
        unit(std::move(unit)),
        meaning(std::move(meaning)),
        member(member),
        label(std::move(label)) {}

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

/// Several lists of columns as one.
template <class Record>
std::vector<Column<Record>> joined(std::initializer_list<std::vector<Column<Record>>> lists) {
  std::vector<Column<Record>> all;
  for (const auto& list : lists) all.insert(all.end(), list.begin(), list.end());
  return all;
}

}  // namespace salebench
