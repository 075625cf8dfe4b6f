#include "results/table_io.h"

#include <fmt/format.h>

#include <functional>
#include <numeric>
#include <type_traits>

namespace salebench {
namespace {

/// How a column's values are stored: all whole numbers as int64.
template <class Value>
using Stored = std::conditional_t<std::is_integral_v<Value>, std::int64_t, Value>;

/// Calls work(Stored<Value>(), member) with what is stored of a column and the way to its member.
template <class Record, class Work>
void with_member(const Column<Record>& column, const Work& work) {
  std::visit(
      [&](auto member) {
        using Value = std::remove_cvref_t<std::invoke_result_t<decltype(member), Record&>>;
        work(Stored<Value>(), [member](Record& record) -> Value& { return std::invoke(member, record); });
      },
      column.member);
}

void write_column(const h5::Group& group, const std::string& name, const std::vector<std::string>& values) {
  group.write_strings(name, values);
}
template <class Number>
void write_column(const h5::Group& group, const std::string& name, const std::vector<Number>& values) {
  group.write(name, std::span<const Number>(values), {values.size()});
}

template <class Value>
std::vector<Value> read_column(const h5::Group& group, const std::string& name) {
  if constexpr (std::is_same_v<Value, std::string>) return group.read_strings(name);
  if constexpr (std::is_same_v<Value, double>) return group.read_double(name);
  if constexpr (std::is_same_v<Value, std::int64_t>) return group.read_int64(name);
}

/// The column that numbers the rows and so serves as their dimension scale.
template <class Record>
constexpr const char* kScale = "row";
template <>
constexpr const char* kScale<CellRecord> = "cell";

}  // namespace

template <class Record>
void write_table(const h5::Group& parent, const std::string& name, const std::vector<Record>& records) {
  const h5::Group group = parent.create_group(name);
  const std::string scale = kScale<Record>;
  if (scale == "row") {
    std::vector<std::int64_t> numbers(records.size());
    std::iota(numbers.begin(), numbers.end(), 0);
    write_column(group, scale, numbers);
    group.make_scale(scale);
  }
  for (const Column<Record>& column : columns<Record>()) {
    with_member(column, [&](auto stored, const auto& member) {
      std::vector<decltype(stored)> values;
      values.reserve(records.size());
      for (const Record& record : records) values.push_back(member(const_cast<Record&>(record)));
      write_column(group, column.name, values);
    });
    if (!column.unit.empty()) group.set_dataset_attribute(column.name, "units", column.unit);
    group.set_dataset_attribute(column.name, "long_name", column.meaning);
    if (!column.label.empty()) group.set_dataset_attribute(column.name, "label", column.label);
    if (scale == column.name)
      group.make_scale(scale);
    else
      group.attach_scale(column.name, scale);
  }
}

template <class Record>
std::vector<Record> read_table(const h5::Group& parent, const std::string& name) {
  const h5::Group group = parent.open_group(name);
  std::vector<Record> records(group.extents(kScale<Record>).at(0));
  for (const Column<Record>& column : columns<Record>()) {
    if (!group.has(column.name)) continue;
    with_member(column, [&](auto stored, const auto& member) {
      auto values = read_column<decltype(stored)>(group, column.name);
      if (values.size() != records.size())
        throw h5::Error(
            fmt::format("{}{} has {} rows, not {}", group.where(), column.name, values.size(), records.size()));
      for (std::size_t i = 0; i < records.size(); ++i) {
        auto& value = member(records[i]);
        value = static_cast<std::remove_reference_t<decltype(value)>>(std::move(values[i]));
      }
    });
  }
  return records;
}

template void write_table(const h5::Group&, const std::string&, const std::vector<CellRecord>&);
template void write_table(const h5::Group&, const std::string&, const std::vector<HeadRecord>&);
template void write_table(const h5::Group&, const std::string&, const std::vector<SampleRecord>&);
template void write_table(const h5::Group&, const std::string&, const std::vector<ProblemRecord>&);
template void write_table(const h5::Group&, const std::string&, const std::vector<CalibrationRecord>&);
template std::vector<CellRecord> read_table(const h5::Group&, const std::string&);
template std::vector<HeadRecord> read_table(const h5::Group&, const std::string&);
template std::vector<SampleRecord> read_table(const h5::Group&, const std::string&);
template std::vector<ProblemRecord> read_table(const h5::Group&, const std::string&);
template std::vector<CalibrationRecord> read_table(const h5::Group&, const std::string&);

}  // namespace salebench
