// The command line: verbs and exit codes, nothing else.
#include <fmt/format.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "core/nearest.h"
#include "harness/support/machine_load.h"
#include "harness/support/plugins.h"
#include "harness/support/provenance.h"
#include "harness/support/terminal.h"
#include "harness/verbs/verb.h"
#include "kernels/cpu/simd.h"

namespace salebench {
namespace {

constexpr const char* kExitCodes =
    "Exit codes: 0 all done; 1 some cells failed; 2 usage or config; 3 slower than the base; 4 nothing measured; 5 no "
    "device or data; "
    "6 results can't be written; 130 interrupted.";

void require_verb(const std::string& word) {
  std::vector<std::string> names;
  for (const Verb* verb : verbs()) {
    if (verb->name() == word) return;
    if (!verb->is_hidden()) names.push_back(verb->name());
  }
  throw UsageError(fmt::format("unknown verb '{}'{}", word, did_you_mean(word, names)));
}

/// The verb, which only --plugin may precede; empty if there is none.
std::string verb_among(const std::vector<std::string>& words) {
  std::size_t i = 0;
  while (i < words.size() && words[i].starts_with("--plugin")) i += words[i] == "--plugin" ? 2 : 1;
  return i < words.size() && !words[i].starts_with('-') ? words[i] : "";
}

ExitCode parse_and_run(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  if (words.empty()) words = {"--help"};
  if (words.front() == "help")
    words = words.size() > 1 ? std::vector{words[1], std::string("--help")} : std::vector{std::string("--help")};
  if (const std::string word = verb_among(words); !word.empty()) require_verb(word);
  CLI::App app("Benchmarks of sparse attention on captured Q, K and V tensors.", "salebench");
  app.footer(kExitCodes);
  app.set_version_flag("--version", version_text());
  app.require_subcommand(1);
  std::vector<std::string> plugins;
  app.add_option("--plugin", plugins,
                 "library with methods of your own; before or after the verb, and may come again. SALEBENCH_PLUGINS "
                 "names some for every command, separated by colons")
      ->allow_extra_args(false);
  app.fallthrough();  // what a verb does not know may be for the program
  for (Verb* verb : verbs()) {
    CLI::App* sub = app.add_subcommand(verb->name(), verb->help());
    if (verb->is_hidden()) sub->group("");
    verb->add(*sub);
  }
  try {
    std::ranges::reverse(words);  // as CLI11 wants them
    app.parse(words);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kAllDone : kUsage;
  }
  std::string command_line = argv[0];
  for (int i = 1; i < argc; ++i) command_line += std::string(" ") + argv[i];
  if (const char* simd = std::getenv("SALEBENCH_SIMD")) cpu::set_simd(simd);
  load_plugins(plugins);
  const auto all = verbs();
  Verb* const verb = *std::ranges::find_if(all, [&](const Verb* v) { return app.got_subcommand(v->name()); });
  return verb->run(command_line);
}

}  // namespace
}  // namespace salebench

int main(int argc, char** argv) {
  salebench::wait_passively(argv);
  spdlog::set_default_logger(spdlog::stderr_color_mt(
      "salebench", salebench::may_colour(STDERR_FILENO) ? spdlog::color_mode::automatic : spdlog::color_mode::never));
  spdlog::set_pattern("salebench: %^%l%$: %v");
  try {
    return salebench::parse_and_run(argc, argv);
  } catch (const std::exception& error) {
    spdlog::error("{}", error.what());
    return salebench::exit_code_of(error);
  }
}
