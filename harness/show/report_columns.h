// The columns of `salebench report`: what each shows of a cell, how it sorts, and which go first on a narrow terminal.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "results/places.h"

namespace salebench {

/// A row of the report: a cell, or the rounds of one.
struct ReportLine {
  CellRecord record;
  int rounds = 1;
  std::string place, settings, status;
  bool on_front = false;  ///< no rival at its place is as fast with less error, or faster with as little
};

struct ReportColumn {
  std::string name;   ///< for --columns and --sort
  bool left = false;  ///< texts; numbers stand to the right
  int drops = 0;      ///< on a narrow terminal the largest goes first; 0 stays
  std::function<std::string(const ReportLine&)> text;
  std::function<double(const ReportLine&)> value;  ///< to sort by, the best first: smaller is better; empty for texts
};

/// All that `--columns` knows: those of the report, and the columns of /cells by their names.
const ReportColumn& report_column(const std::string& name);

/// Those that a report shows unless told, in order.
std::vector<ReportColumn> usual_columns();

/// Marks the lines that are on the front of speedup against relative error at their place, among rivals with usable
/// times.
void mark_front(std::vector<ReportLine>& lines);

}  // namespace salebench
