// The columns of a result: one table of name, unit, meaning and member drives the writer, the reader, the report and
// the documentation (results/README.md, by `salebench list columns`).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/cell.h"
#include "core/problem.h"
#include "results/column.h"

namespace salebench {

/// A problem without the texts that say where it comes from, which stand once, in /problems.
ProblemInfo without_texts(ProblemInfo problem);

/// One cell: a method with its parameters on one problem. Doubles are NaN and texts empty where there is nothing to
/// say.
struct CellRecord : CellSettings, CellOutcome, Accuracy, CellTimes, CellProvenance {
  std::int64_t cell = 0;  ///< its place in the run
  ProblemInfo problem;    ///< of the shape in use; without its texts, which stand in /problems
};

/// One query head of a cell.
struct HeadRecord : Accuracy {
  std::int64_t cell = 0, head = 0;
};

/// One timed phase of one sample of a cell.
struct SampleRecord {
  std::int64_t cell = 0, sample = 0;
  std::string phase;
  double seconds = kNoValue, sm_clock_mhz = kNoValue;
};

/// One captured problem that cells refer to.
struct ProblemRecord {
  std::string path;
  ProblemInfo info;
};

/// One value that a calibration found, with its figures on one problem: of a head, or of the problem as a whole.
struct CalibrationRecord : MethodOnData {
  ProblemInfo problem;  ///< of the shape in use; without its texts
  std::string metric, scope, search, fit, status, reason, file;
  std::int64_t head = -1, evaluations = 0;
  double target = kNoValue, value = kNoValue;
  Accuracy fitted;    ///< over the rows that the value was fitted to
  Accuracy held_out;  ///< over the others
  double select_s = kNoValue, attend_s = kNoValue;
};

/// Markdown tables of all columns, for the documentation.
std::string schema_markdown();

}  // namespace salebench
