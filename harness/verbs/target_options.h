// The options by which a verb is told at what quality it compares.
#pragma once

#include <CLI/CLI.hpp>
#include <vector>

#include "results/rank.h"

namespace salebench {

struct TargetOptions {
  double at_recall = 0, at_error = 0, slack = 0;
  bool each_head = false;

  /// Whether anything is told but a mean recall.
  bool is_of_rank() const { return at_error > 0 || each_head || slack > 0; }
  /// As told, else what the cells were calibrated for. Throws UsageError if that is nothing, or several.
  RankTarget of(const std::vector<CellRecord>& records) const;
};

/// Checks for a number in [low, high]; NaN, which CLI::Range lets through, is none.
CLI::Validator number_within(double low, double high);

/// Adds them, all but --at-recall where the verb has its own; they need `needed` if there is one.
void add_target(CLI::App& app, TargetOptions& target, CLI::Option* needed, CLI::Option* recall = nullptr);

}  // namespace salebench
