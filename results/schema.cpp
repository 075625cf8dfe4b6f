#include "results/schema.h"

#include <fmt/format.h>

#include <type_traits>

#include "results/cell_columns.h"
#include "results/problem_columns.h"

namespace salebench {

ProblemInfo without_texts(ProblemInfo problem) {
  for (const auto text : {&ProblemInfo::model, &ProblemInfo::prompt, &ProblemInfo::source, &ProblemInfo::attributes})
    (problem.*text).clear();
  return problem;
}

template <>
const std::vector<Column<CellRecord>>& columns<CellRecord>() {
  using R = CellRecord;
  static const std::vector<Column<R>> table = joined<R>({
      {{"cell", "", "number of the cell in this run, from 0", &R::cell}},
      settings_columns<R>(),
      {
          {"problem", "", "id of the problem in the capture", follow<R, &R::problem, &ProblemInfo::id>},
          {"layer", "", "model layer; -1 unknown", follow<R, &R::problem, &ProblemInfo::layer>},
      },
      shape_columns<R, &R::problem>(),
      attention_columns<R, &R::problem>(),
      outcome_columns<R>(),
      figure_columns<R>(false),
      time_columns<R>(),
      provenance_columns<R>(),
  });
  return table;
}

template <>
const std::vector<Column<HeadRecord>>& columns<HeadRecord>() {
  using R = HeadRecord;
  static const std::vector<Column<R>> table =
      joined<R>({{{"cell", "", "the cell, as in /cells", &R::cell}, {"head", "", "query head", &R::head}},
                 figure_columns<R>(true)});
  return table;
}

template <>
const std::vector<Column<SampleRecord>>& columns<SampleRecord>() {
  using R = SampleRecord;
  static const std::vector<Column<R>> table = {
      {"cell", "", "the cell, as in /cells", &R::cell},
      {"sample", "", "number of the sample, in the order taken", &R::sample},
      {"phase", "", "select, index, attend, or dense for the baseline", &R::phase},
      {"seconds", "s", "time of the phase", &R::seconds},
      {"sm_clock_mhz", "MHz", "mean SM clock over the sample's phases; NaN where not known", &R::sm_clock_mhz},
  };
  return table;
}

template <>
const std::vector<Column<ProblemInfo>>& columns<ProblemInfo>() {
  static const std::vector<Column<ProblemInfo>> table = problem_columns<ProblemInfo>();
  return table;
}

template <>
const std::vector<Column<ProblemRecord>>& columns<ProblemRecord>() {
  using R = ProblemRecord;
  static const std::vector<Column<R>> table =
      joined<R>({{{"path", "", "the capture", &R::path}}, problem_columns<R, &R::info>()});
  return table;
}

template <>
const std::vector<Column<CalibrationRecord>>& columns<CalibrationRecord>() {
  using R = CalibrationRecord;
  static const std::vector<Column<R>> table = joined<R>({
      method_columns<R>(),
      {
          {"metric", "", "what the target limits: rel_l2, l1_per_token or recall", &R::metric},
          {"target", "", "the limit", &R::target},
          {"scope", "", "head, layer or global: what has a value of its own", &R::scope},
          {"search", "", "bisection or paper", &R::search},
          {"fit", "", "rows fitted to: first_half, even_blocks or all", &R::fit},
          {"problem", "", "id of the problem in the capture", follow<R, &R::problem, &ProblemInfo::id>},
          {"kv_len", "tokens", "keys", follow<R, &R::problem, &ProblemInfo::shape, &Shape::kv_len>},
      },
      attention_columns<R, &R::problem>(),
      {
          {"head", "", "query head; -1 for the problem as a whole", &R::head},
          {"value", "", "the value found; NaN for the whole problem where heads have values of their own", &R::value},
          {"status", "",
           "ok; unreachable (even the value that keeps most misses the target); fixed (no knob); not_reproduced (the "
           "last evaluation missed what the search had met); unsupported; error",
           &R::status},
          {"reason", "", "why the status is unsupported or error", &R::reason},
          {"evaluations", "", "values tried; the most of a head for the whole problem", &R::evaluations},
      },
      calibrated_columns<R>("fit_", &R::fitted, "the rows fitted to; NaN for a held-out data set"),
      calibrated_columns<R>("held_out_", &R::held_out, "the rows not fitted to; NaN where there are none"),
      {
          {"select_s", "s", "median time of selection over all evaluations, caches as they are; whole problem only",
           &R::select_s},
          {"attend_s", "s", "time of attention at the values found, once, caches as they are; whole problem only",
           &R::attend_s},
          {"file", "", "the values as methods read them, in the same folder; empty for none", &R::file},
      },
  });
  return table;
}

namespace {

template <class Value>
const char* type_name(const Value&) {
  return std::is_same_v<Value, std::string> ? "text" : std::is_integral_v<Value> ? "int64" : "float64";
}

template <class Record>
std::string table_markdown(const char* name, const char* what) {
  std::string text = fmt::format("### `{}`: {}\n\n| column | type | unit | meaning |\n|---|---|---|---|\n", name, what);
  for (const auto& column : columns<Record>())
    column.visit(Record(), [&](const auto& value) {
      text += fmt::format("| `{}` | {} | {} | {} |\n", column.name, type_name(value), column.unit, column.meaning);
    });
  return text + "\n";
}

}  // namespace

std::string schema_markdown() {
  return table_markdown<CellRecord>("/cells", "one row a cell") +
         table_markdown<HeadRecord>("/heads", "one row a query head of a cell") +
         table_markdown<SampleRecord>("/samples", "one row a timed phase of a sample") +
         table_markdown<ProblemRecord>("/problems", "one row a captured problem") +
         table_markdown<CalibrationRecord>("/calibration",
                                           "one row a head or problem, for each setting and target; in calibration.h5");
}

}  // namespace salebench
