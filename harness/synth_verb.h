// The verb `synth`: its options, and writing the file.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "datasets/synthetic.h"

namespace salebench {

struct SynthCommand {
  SyntheticOptions options;
  std::string out;
  bool force = false, quiet = false;
};

/// Adds the subcommand `synth`, which fills `command`; command must outlive the app.
void add_synth(CLI::App& app, SynthCommand& command);

/// Writes the file, with progress on stderr. Returns an exit code: all done, or interrupted. Throws UsageError if the
/// file exists without --force, std::invalid_argument for options out of range, WriteError.
int run_synth(const SynthCommand& command);

}  // namespace salebench
