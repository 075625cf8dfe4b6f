// `salebench report --live`: the page of a run that goes on, served on this machine alone.
#pragma once

#include <functional>
#include <string>

namespace salebench {

struct LivePage {
  int port = 0;                       ///< 0: any that is free
  std::function<std::string()> page;  ///< the page as it is now
  std::function<std::string()> data;  ///< what its script asks for
};

/// Serves until interrupted, on the loopback interface; says where on stderr. Throws UsageError if the port is taken or
/// this build has no server.
void serve_page(const LivePage& live);

}  // namespace salebench
