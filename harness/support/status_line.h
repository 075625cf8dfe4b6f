// What long work says on stderr: one line that is rewritten on a terminal, elsewhere lines that last.
#pragma once

#include <chrono>
#include <string>

namespace salebench {

class StatusLine {
 public:
  explicit StatusLine(bool quiet);

  /// Rewrites the line, cut to the width of the terminal; elsewhere than on a terminal nothing.
  void show(const std::string& text) const { write(text, false); }
  /// Rewrites the line; elsewhere a line of its own.
  void keep(const std::string& text) const { write(text, true); }
  /// What stands there stays, and the next text begins below it.
  void move_on() const;
  /// Nothing stands there any more.
  void wipe() const;

  /// Seconds since this object was made.
  double seconds() const;
  /// "eta 6m | " when a share of the work is done; "" if that is all of it.
  std::string eta(double done, double all) const;

 private:
  void write(const std::string& text, bool lasting) const;

  bool quiet_, terminal_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// "6m", "40s", "2h05m"
std::string duration_text(double seconds);

}  // namespace salebench
