// Ctrl-C and SIGTERM, which end long work between two steps of it.
#pragma once

#include <atomic>

namespace salebench {

/// Set by SIGINT and SIGTERM once catch_interrupts() was called.
extern std::atomic<bool> interrupted;
void catch_interrupts();

}  // namespace salebench
