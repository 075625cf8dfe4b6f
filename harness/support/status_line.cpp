#include "harness/support/status_line.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "harness/support/terminal.h"
#include "harness/support/text_table.h"

namespace salebench {

StatusLine::StatusLine(bool quiet) : quiet_(quiet), terminal_(::isatty(STDERR_FILENO)) {}

void StatusLine::write(const std::string& text, bool lasting) const {
  if (quiet_ || (!terminal_ && !lasting)) return;
  // A line that wraps could not be rewritten.
  const std::string shown =
      terminal_ ? cut_to_width(text, std::size_t(std::max(0, columns_of(STDERR_FILENO) - 1))) : text;
  fmt::print(stderr, "{}{}{}", terminal_ ? "\r\033[K" : "", shown, terminal_ ? "" : "\n");
  std::fflush(stderr);
}

void StatusLine::move_on() const {
  if (terminal_ && !quiet_) fmt::print(stderr, "\n");
}

void StatusLine::wipe() const {
  if (terminal_ && !quiet_) fmt::print(stderr, "\r\033[K");
}

double StatusLine::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

std::string StatusLine::eta(double done, double all) const {
  return done > 0 && done < all ? "eta " + duration_text(seconds() / done * (all - done)) + " | " : "";
}

std::string duration_text(double seconds) {
  const long s = std::lround(seconds);
  if (s < 100) return fmt::format("{}s", s);
  if (s < 6000) return fmt::format("{}m", (s + 30) / 60);
  return fmt::format("{}h{:02}m", s / 3600, s % 3600 / 60);
}

}  // namespace salebench
