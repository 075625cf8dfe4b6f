// What shells and man need to know of the command line, made of the same texts as --help.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace salebench {

/// A script for a shell, "bash", "zsh" or "fish", that completes verbs, options, their choices and names of methods.
std::string shell_completion(const CLI::App& app, const std::string& shell);

/// The page salebench(1), in the language of man.
std::string man_page(const CLI::App& app);

}  // namespace salebench
