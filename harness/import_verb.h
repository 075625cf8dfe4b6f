// The verb `import`: its options, and what it prints.
#pragma once

#include <CLI/CLI.hpp>

#include "datasets/import.h"

namespace salebench {

/// Adds the verb, which fills `options`, to the command line.
void add_import(CLI::App& app, ImportOptions& options);

/// Imports and says in a line what was written. Returns the exit code; throws as import_capture does.
int run_import(const ImportOptions& options);

}  // namespace salebench
