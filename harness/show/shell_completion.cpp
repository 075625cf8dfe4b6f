#include "harness/show/shell_completion.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "core/registry.h"

namespace salebench {
namespace {

using Words = std::vector<std::string>;

/// An option or a positional argument.
struct Argument {
  Words names;  ///< "-o", "--out"; empty for a positional argument
  std::string name, help;
  bool takes_value = false;
  Words choices;  ///< of the value, where only some are allowed
};

struct Command {
  std::string name, help;
  std::vector<Argument> arguments;
};

/// "TEXT:{table,md,csv,json}" allows four.
Words choices_in(const std::string& type) {
  Words choices;
  const std::size_t open = type.find('{'), close = type.find('}');
  if (open == std::string::npos || close == std::string::npos) return choices;
  for (std::size_t at = open + 1; at < close;) {
    const std::size_t end = std::min(type.find(',', at), close);
    choices.push_back(type.substr(at, end - at));
    at = end + 1;
  }
  return choices;
}

std::vector<Argument> arguments_of(const CLI::App& app) {
  std::vector<Argument> arguments;
  for (const CLI::Option* option : app.get_options()) {
    Argument argument;
    for (const std::string& name : option->get_snames()) argument.names.push_back("-" + name);
    for (const std::string& name : option->get_lnames()) argument.names.push_back("--" + name);
    argument.name = option->get_name(), argument.help = option->get_description();
    argument.takes_value = option->get_items_expected_max() > 0;
    argument.choices = choices_in(option->get_type_name());
    arguments.push_back(argument);
  }
  return arguments;
}

std::vector<Command> commands_of(const CLI::App& app) {
  std::vector<Command> commands;
  for (const CLI::App* sub : app.get_subcommands({}))
    if (!sub->get_group().empty()) commands.push_back({sub->get_name(), sub->get_description(), arguments_of(*sub)});
  return commands;
}

Words method_names() {
  Words names;
  for (const MethodInfo& info : methods()) names.push_back(info.name);
  return names;
}

Words option_names(const Command& command) {
  Words names;
  for (const Argument& argument : command.arguments)
    for (const std::string& name : argument.names) names.push_back(name);
  return names;
}

/// Values that an option or a verb takes beside files: its choices, or the methods.
Words values_of(const Argument& argument) {
  if (std::ranges::find(argument.names, "--method") != argument.names.end()) return method_names();
  return argument.choices;
}

std::string bash(const std::vector<Command>& commands) {
  Words verbs;
  std::string options, values;
  for (const Command& command : commands) {
    verbs.push_back(command.name);
    options += fmt::format("    {}) words=\"{}\" ;;\n", command.name, fmt::join(option_names(command), " "));
    for (const Argument& argument : command.arguments)
      if (const Words known = values_of(argument); !known.empty() && !argument.names.empty())
        values += fmt::format("    {}:{}) values=\"{}\" ;;\n", command.name,
                              fmt::join(argument.names, fmt::format("|{}:", command.name)), fmt::join(known, " "));
  }
  return fmt::format(
      R"(# Completion of salebench for bash: source it, or put it into bash-completion/completions as `salebench`.
_salebench() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} verb=${{COMP_WORDS[1]}} words= values=
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "{} help --help --version --plugin" -- "$current"))
    return
  fi
  case "$verb:$previous" in
{}    list:list) values="methods datasets columns {}" ;;
  esac
  case "$verb" in
{}    help) values="{}" ;;
  esac
  if [ -n "$values" ]; then
    COMPREPLY=($(compgen -W "$values" -- "$current"))
  elif [[ $current == -* ]]; then
    COMPREPLY=($(compgen -W "$words" -- "$current"))
  else
    compopt -o filenames 2> /dev/null
    COMPREPLY=($(compgen -f -- "$current"))
  fi
}}
complete -F _salebench salebench
)",
      fmt::join(verbs, " "), values, fmt::join(method_names(), " "), options, fmt::join(verbs, " "));
}

/// For single quotes, and for the brackets and colons in which zsh and fish put texts.
std::string plain(const std::string& text) {
  std::string kept;
  for (const char c : text) kept += c == '\'' ? '`' : c == '[' ? '(' : c == ']' ? ')' : c == ':' ? ' ' : c;
  return kept;
}

std::string zsh(const std::vector<Command>& commands) {
  std::string verbs, cases;
  for (const Command& command : commands) {
    verbs += fmt::format("    '{}:{}'\n", command.name, plain(command.help));
    cases += fmt::format("    {}) _arguments", command.name);
    for (const Argument& argument : command.arguments) {
      const Words known = values_of(argument);
      const std::string action = known.empty() ? "_files" : fmt::format("({})", fmt::join(known, " "));
      for (const std::string& name : argument.names)
        cases += fmt::format(" \\\n      '*{}[{}]{}'", name, plain(argument.help),
                             argument.takes_value ? ":value:" + action : "");
    }
    cases += fmt::format(" \\\n      '*:argument:{}' ;;\n",
                         command.name == "list"
                             ? fmt::format("(methods datasets columns {})", fmt::join(method_names(), " "))
                             : "_files");
  }
  return fmt::format(R"(#compdef salebench
# Completion of salebench for zsh: put it into a folder of $fpath as `_salebench`.
_salebench() {{
  local -a verbs
  verbs=(
{}  )
  if (( CURRENT == 2 )); then
    _describe verb verbs
    return
  fi
  local verb=$words[2]
  shift words
  (( CURRENT-- ))
  case $verb in
{}  esac
}}
_salebench "$@"
)",
                     verbs, cases);
}

std::string fish(const std::vector<Command>& commands) {
  std::string text =
      "# Completion of salebench for fish: put it into ~/.config/fish/completions as `salebench.fish`.\n";
  for (const Command& command : commands) {
    text += fmt::format("complete -c salebench -n __fish_use_subcommand -f -a {} -d '{}'\n", command.name,
                        plain(command.help));
    for (const Argument& argument : command.arguments) {
      if (argument.names.empty()) continue;
      text += fmt::format("complete -c salebench -n '__fish_seen_subcommand_from {}'", command.name);
      for (const std::string& name : argument.names)
        text += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      if (argument.takes_value) text += " -r";
      if (const Words known = values_of(argument); !known.empty())
        text += fmt::format(" -f -a '{}'", fmt::join(known, " "));
      text += fmt::format(" -d '{}'\n", plain(argument.help));
    }
  }
  return text + fmt::format("complete -c salebench -n '__fish_seen_subcommand_from list' -f -a '{}'\n",
                            fmt::join(method_names(), " "));
}

/// Text for man, whose lines must not begin with a dot, and whose hyphens are minus signs.
std::string roff(const std::string& text) {
  std::string escaped;
  for (const char c : text)
    escaped += c == '-' ? std::string("\\-") : c == '\\' ? std::string("\\e") : std::string(1, c);
  return escaped.starts_with('.') || escaped.starts_with('\'') ? "\\&" + escaped : escaped;
}

}  // namespace

std::string shell_completion(const CLI::App& app, const std::string& shell) {
  const std::vector<Command> commands = commands_of(app);
  return shell == "bash" ? bash(commands) : shell == "zsh" ? zsh(commands) : fish(commands);
}

std::string man_page(const CLI::App& app) {
  std::string text =
      ".TH SALEBENCH 1\n.SH NAME\nsalebench \\- benchmarks of sparse attention on captured Q, K and V\n"
      ".SH SYNOPSIS\n.B salebench\n.I verb\n[options]\n.SH DESCRIPTION\n" +
      roff(app.get_description()) + " Each verb explains itself with \\fB\\-\\-help\\fR.\n.SH VERBS\n";
  for (const Command& command : commands_of(app)) {
    text += fmt::format(".SS {}\n{}\n", roff(command.name), roff(command.help));
    for (const Argument& argument : command.arguments)
      text += fmt::format(
          ".TP\n\\fB{}\\fR{}\n{}\n",
          roff(argument.names.empty() ? argument.name : fmt::format("{}", fmt::join(argument.names, ", "))),
          argument.choices.empty() ? "" : fmt::format(" ({})", fmt::join(argument.choices, ", ")), roff(argument.help));
  }
  return text + ".SH EXIT STATUS\n" + roff(app.get_footer()) + "\n";
}

}  // namespace salebench
