#include "results/table_io.h"

#include <fmt/format.h>

#include <numeric>

namespace salebench {
namespace {

template <class Value, class Record>
std::vector<Value> values_of(const std::vector<Record>& records, Value Record::*member) {
  std::vector<Value> values;
  values.reserve(records.size());
  for (const Record& record : records) values.push_back(record.*member);
  return values;
}

template <class Value, class Record>
void set_values(const h5::Group& group, const std::string& name, std::vector<Value> values, Value Record::*member,
                std::vector<Record>& records) {
  if (values.size() != records.size())
    throw h5::Error(fmt::format("{}{} has {} rows, not {}", group.where(), name, values.size(), records.size()));
  for (std::size_t i = 0; i < records.size(); ++i) records[i].*member = std::move(values[i]);
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
    std::visit([&](auto member) { write_column(group, column.name, values_of(records, member)); }, column.member);
    if (*column.unit) group.set_dataset_attribute(column.name, "units", column.unit);
    group.set_dataset_attribute(column.name, "long_name", column.meaning);
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
    std::visit(
        [&](auto member) {
          using Value = std::remove_reference_t<decltype(std::declval<Record>().*member)>;
          set_values(group, column.name, read_column<Value>(group, column.name), member, records);
        },
        column.member);
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
