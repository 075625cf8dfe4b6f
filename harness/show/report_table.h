// The table of `salebench report`.
#pragma once

#include <string>
#include <vector>

#include "harness/show/report.h"
#include "results/places.h"

namespace salebench {

struct ReportTable {
  std::string text;
  bool has_front = false;  ///< whether speedups are marked with *: no rival in the table is faster with less error
};

/// The settings, of these records, as a table of the options' columns and width; cells that did not run are summed up
/// under it. Throws UsageError for a column that there is not.
ReportTable report_table(const std::vector<CellRecord>& records, const std::vector<TimedSetting>& settings,
                         const ReportOptions& options);

}  // namespace salebench
