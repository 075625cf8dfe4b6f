// What a sweep says on stderr while it runs: one line that is rewritten on a terminal, one line a cell elsewhere.
#pragma once

#include <string>

#include "harness/plan/plan.h"
#include "harness/support/status_line.h"
#include "results/schema.h"

namespace salebench {

class Progress {
 public:
  /// cells: how many there are to run. quiet: say nothing.
  Progress(int cells, bool quiet) : cells_(cells), line_(quiet) {}

  void starting(const PlannedCell& cell);
  void finished(const PlannedCell& cell, const CellRecord& record);
  /// A note on what the sweep does between cells, such as computing a truth; on a terminal it may be rewritten.
  void note(const std::string& text) { line_.show(text); }
  /// Ends the line that is being rewritten.
  void end() { line_.move_on(); }

 private:
  std::string counts() const;

  int cells_, done_ = 0, ok_ = 0, skipped_ = 0, failed_ = 0;
  StatusLine line_;
};

}  // namespace salebench
