#include "harness/support/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace salebench {

int columns_of(int descriptor) {
  winsize size{};
  if (::isatty(descriptor) && ::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  const char* columns = std::getenv("COLUMNS");
  return columns ? std::max(0, std::atoi(columns)) : 0;
}

bool may_colour(int descriptor) {
  const char* never = std::getenv("NO_COLOR");
  return ::isatty(descriptor) && !(never && *never);
}

}  // namespace salebench
