// `salebench report --live`: the page of a run that goes on, served on this machine alone.
#pragma once

#include <functional>
#include <string>

#include "harness/page/run_view.h"

namespace salebench {

/// Serves the page and its data, as `data` makes it of a view, until interrupted, on the loopback interface; 0 is any
/// port that is free. Says where on stderr. What it costs is kept to a small share of a core, since the run that it
/// shows is measuring. Throws UsageError if the port is taken or this build has no server.
void serve_page(int port, RunWatch& watch, const std::function<std::string(RunView&)>& data);

}  // namespace salebench
