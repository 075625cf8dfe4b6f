#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "harness/show/compare_report.h"
#include "harness/show/report.h"
#include "harness/support/errors.h"
#include "harness/verbs/target_options.h"
#include "harness/verbs/verb.h"
#include "results/compare.h"
#include "results/places.h"

namespace salebench {
namespace {

class Compare : public Verb {
 public:
  std::string name() const override { return "compare"; }
  std::string help() const override {
    return "what became faster or slower between two runs, or two methods of one: salebench compare runs/base runs/new";
  }

  void add(CLI::App& app) override {
    app.add_option("base", base_, "output folder of a run, or a run.h5")->required();
    auto* const fresh = app.add_option("new", fresh_, "another, of the same cells");
    app.add_flag("--fail-on-regression", fail_, "exit code 3 if anything is slower, failed or has a worse result")
        ->needs(fresh);
    app.add_option("--floor", options_.floor, "changes of times up to this share are noise")
        ->check(number_within(0, 1))
        ->capture_default_str();
    app.add_flag("--lenient", lenient_, "compare although the hardware is another")->needs(fresh);
    app.add_flag("--all", all_, "all cells, not just those that changed")->needs(fresh);
    auto* const methods = app.add_option("--methods", methods_, "two methods of the first run, at a target")
                              ->expected(2)
                              ->excludes(fresh);
    add_target(app, target_, methods);
    app.add_option("--format", format_, "table, md or json")->check(CLI::IsMember({"table", "md", "json"}));
  }

  ExitCode run(const std::string&) override {
    const std::vector<CellRecord> base = load_records(base_);
    if (!methods_.empty()) return compare_methods(base);
    if (fresh_.empty()) throw UsageError("compare needs a second run, or --methods A B of the first");
    const std::vector<CellRecord> fresh = load_records(fresh_);
    if (const std::string other = other_hardware(base, fresh); !other.empty() && !lenient_)
      throw UsageError("the new run is of other hardware (" + other + "): --lenient compares all the same");
    const Comparison comparison = compare(base, fresh, options_);
    std::fputs(format_comparison(comparison, options_, format_, all_).c_str(), stdout);
    if (comparison.cells.empty()) {
      std::fputs("nothing to compare: no cell is of both runs\n", stderr);
      return kNothingMeasured;
    }
    if (fail_ && has_regressed(comparison)) return kRegressed;
    const auto has_verdict = [](const TimeChange& change) { return change.verdict != Verdict::too_few; };
    if (fail_ && std::ranges::none_of(comparison.cells, has_verdict) &&
        std::ranges::none_of(comparison.methods, has_verdict)) {
      std::fputs("no verdict: neither cells nor methods have enough processes in both runs; set measure.rounds\n",
                 stderr);
      return kNothingMeasured;
    }
    return kAllDone;
  }

 private:
  ExitCode compare_methods(std::vector<CellRecord> records) const {
    for (const std::string& name : methods_) check_method(records, name);
    const auto busy = std::erase_if(records, [](const CellRecord& r) { return has_usable_times(r) && r.busy; });
    if (busy > 0) fmt::print(stderr, "{} rounds are left out: other processes took the cores\n", busy);
    RankOptions options;
    options.target = target_.of(records);
    const auto ratios = method_ratios(records, options, methods_[0], methods_[1]);
    std::fputs(format_method_ratios(ratios, options.target, methods_[0], methods_[1], format_).c_str(), stdout);
    const auto compared = [](const MethodRatio& ratio) { return ratio.both > 0; };
    return std::ranges::any_of(ratios, compared) ? kAllDone : kNothingMeasured;
  }

  void check_method(const std::vector<CellRecord>& records, const std::string& name) const {
    const auto of_it = [&](const CellRecord& r) { return display_name(r) == name; };
    if (std::ranges::none_of(records, of_it)) throw UsageError(base_ + " has no cells of method " + name);
    for (const CellRecord& r : records) {
      if (!of_it(r)) continue;
      if (r.role == "oracle")
        throw UsageError(name + " is an oracle: its time, after a look at the answer, compares with none");
      if (has_untimed_selection(r))
        throw UsageError("the masks of " + name + " were made elsewhere: its times leave out the selection");
    }
  }

  std::string base_, fresh_, format_ = "table";
  std::vector<std::string> methods_;
  TargetOptions target_;
  CompareOptions options_;
  bool fail_ = false, lenient_ = false, all_ = false;
};

SALEBENCH_VERB(Compare);

}  // namespace
}  // namespace salebench
