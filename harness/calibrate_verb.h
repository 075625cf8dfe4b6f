// The verb `calibrate`: its options.
#pragma once

#include <CLI/CLI.hpp>

#include "harness/calibrate.h"

namespace salebench {

/// Adds the verb, which fills `options`, to the command line.
void add_calibrate(CLI::App& app, CalibrateOptions& options);

}  // namespace salebench
