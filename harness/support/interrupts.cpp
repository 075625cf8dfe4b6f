#include "harness/support/interrupts.h"

#include <csignal>

namespace salebench {

std::atomic<bool> interrupted = false;

namespace {

extern "C" void on_interrupt(int) {
  interrupted = true;
}

}  // namespace

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

}  // namespace salebench
