#include "harness/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>

namespace salebench {

std::string duration_text(double seconds) {
  const long s = std::lround(seconds);
  if (s < 100) return fmt::format("{}s", s);
  if (s < 6000) return fmt::format("{}m", (s + 30) / 60);
  return fmt::format("{}h{:02}m", s / 3600, s % 3600 / 60);
}

Progress::Progress(int cells, bool quiet) : cells_(cells), quiet_(quiet), terminal_(::isatty(STDERR_FILENO)) {}

std::string Progress::counts() const {
  return fmt::format("[{:>3}/{} ok {} skip {} fail {}]", done_, cells_, ok_, skipped_, failed_);
}

void Progress::line(const std::string& text, bool lasting) {
  if (quiet_ || (!terminal_ && !lasting)) return;
  fmt::print(stderr, "{}{}{}", terminal_ ? "\r\033[K" : "", text, terminal_ ? "" : "\n");
  std::fflush(stderr);
}

void Progress::starting(const PlannedCell& cell) {
  line(fmt::format("{} {} ...", counts(), cell.label()), false);
}

void Progress::note(const std::string& text) {
  line(text, false);
}

void Progress::finished(const PlannedCell& cell, const CellRecord& r) {
  ++done_;
  std::string what;
  if (r.status == "ok") {
    ++ok_;
    what = fmt::format("select {:.3g} attend {:.3g} ms ±{:.1f}% | recall {:.4f} | err {:.2e}", 1e3 * r.select_s,
                       1e3 * r.attend_s, 100 * r.noise, r.recall_mean, r.rel_l2);
  } else {
    ++(r.status == "unsupported" ? skipped_ : failed_);
    what = fmt::format("{}: {}", r.status, r.reason);
  }
  const double elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  const double left = elapsed / done_ * (cells_ - done_);
  line(fmt::format("{} {} | {}{}", counts(), cell.label(), what, done_ < cells_ ? " | eta " + duration_text(left) : ""),
       true);
  // A failure stays on the screen.
  if (terminal_ && !quiet_ && r.status != "ok") fmt::print(stderr, "\n");
}

void Progress::end() {
  if (terminal_ && !quiet_) fmt::print(stderr, "\n");
}

}  // namespace salebench
