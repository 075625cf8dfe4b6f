#include "harness/run/progress.h"

#include <fmt/format.h>

#include "harness/support/text_table.h"

namespace salebench {

std::string Progress::counts() const {
  return fmt::format("[{:>3}/{} ok {} skip {} fail {}]", done_, cells_, ok_, skipped_, failed_);
}

void Progress::starting(const PlannedCell& cell) {
  line_.show(fmt::format("{}{} {} ...", line_.eta(done_, cells_), counts(), cell.title()));
}

void Progress::finished(const PlannedCell& cell, const CellRecord& r) {
  ++done_;
  std::string what;
  if (r.status == "ok") {
    ++ok_;
    what = fmt::format("select {} attend {} ±{:.1f}% | recall {:.4f} | err {:.2e}", seconds_text(r.select_s),
                       seconds_text(r.attend_s), 100 * r.noise, r.recall_mean, r.rel_l2);
  } else {
    ++(r.status == "unsupported" ? skipped_ : failed_);
    what = fmt::format("{}: {}", r.status, r.reason);
  }
  line_.keep(fmt::format("{}{} {} | {}", line_.eta(done_, cells_), counts(), cell.title(), what));
  if (r.status != "ok") line_.move_on();  // a failure stays on the screen
}

}  // namespace salebench
