#include "harness/verbs/target_options.h"

#include <fmt/format.h>

#include "harness/show/rank_report.h"

namespace salebench {

RankTarget TargetOptions::of(const std::vector<CellRecord>& records) const {
  RankTarget target = at_recall > 0  ? RankTarget{RankTarget::Metric::recall, at_recall}
                      : at_error > 0 ? RankTarget{RankTarget::Metric::error, at_error, each_head}
                                     : recalled_target(records);
  target.slack = slack;
  return target;
}

CLI::Validator number_within(double low, double high) {
  return {[=](const std::string& text) -> std::string {
            double value = 0;
            if (CLI::detail::lexical_cast(text, value) && value >= low && value <= high) return {};
            return fmt::format("{} is not a number from {:g} to {:g}", text, low, high);
          },
          fmt::format("[{:g} to {:g}]", low, high)};
}

void add_target(CLI::App& app, TargetOptions& target, CLI::Option* needed, CLI::Option* recall) {
  std::vector<CLI::Option*> added;
  if (!recall)
    added.push_back(recall = app.add_option("--at-recall", target.at_recall, "at least this mean recall")
                                 ->check(number_within(1e-9, 1)));
  added.push_back(app.add_option("--at-error", target.at_error, "at most this relative L2 error of the output")
                      ->check(number_within(1e-9, 1e9))
                      ->excludes(recall));
  added.push_back(app.add_flag("--each-head", target.each_head, "with --at-error: of every head")->excludes(recall));
  added.push_back(app.add_option("--slack", target.slack, "errors (or 1 - recall) may be larger by this share")
                      ->check(number_within(0, 1)));
  if (!needed) return;
  for (CLI::Option* option : added) option->needs(needed);
}

}  // namespace salebench
