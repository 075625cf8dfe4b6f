// `salebench report`: the cells of a run as a table.
#pragma once

#include <string>
#include <vector>

#include "results/schema.h"

namespace salebench {

/// As a value of CSV: in quotes, those within doubled.
std::string csv_text(const std::string& text);

/// What a record's speedup is over: the baseline, with the kernel that was the fastest where it says so.
std::string baseline_text(const CellRecord& record);

/// The records of a run folder, or of a run.h5. Throws UsageError.
std::vector<CellRecord> load_records(const std::string& path);

/// Takes out the cells with usable times that did not converge, or were measured while others took the cores; or just
/// calls their times unusable.
void leave_out_doubtful(std::vector<CellRecord>& records, bool times_alone);

struct ReportOptions {
  std::string format = "table";           ///< table, md, csv or json
  double at_recall = 0;                   ///< above 0: for each method and problem the fastest ok cell that reaches it
  std::vector<std::string> columns = {};  ///< by name; empty for the usual ones
  std::string sort = {};                  ///< a column, the best first; empty for the order of problems
  std::vector<std::string> methods = {}, problems = {};  ///< globs, of which one must match; empty for all
  bool all = false;                                      ///< also cells that did not run, which are else summed up
  int width = 0;                                         ///< of the terminal; 0 for no limit
};

/// Rounds of a cell are one row with the medians of their times, but in csv and json without at_recall, which give the
/// cells as they are. Throws UsageError for names that there are not.
std::string format_report(const std::vector<CellRecord>& records, const ReportOptions& options);

}  // namespace salebench
