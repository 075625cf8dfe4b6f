// A verb of the program: one file of this folder each, which registers its class with SALEBENCH_VERB. Nothing else
// names it.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "harness/support/errors.h"

namespace salebench {

class Verb {
 public:
  virtual ~Verb() = default;

  virtual std::string name() const = 0;
  /// One line.
  virtual std::string help() const = 0;
  /// Whether `--help` shows it.
  virtual bool is_hidden() const { return false; }
  /// Adds its options, which fill this object.
  virtual void add(CLI::App& app) = 0;
  /// Does the work; the errors of harness/support/errors.h and others that main.cpp knows may leave it.
  virtual ExitCode run(const std::string& command_line) = 0;
};

/// All verbs, by name.
std::vector<Verb*> verbs();

/// For verbs that store names and notes of their command line: results could hold what is no UTF-8 only changed. Throws
/// UsageError.
void require_utf8(const std::string& command_line);

/// Called by SALEBENCH_VERB before main.
bool register_verb(std::unique_ptr<Verb> verb);

}  // namespace salebench

#define SALEBENCH_VERB(Class) \
  static const bool registered_##Class [[maybe_unused]] = ::salebench::register_verb(std::make_unique<Class>())
