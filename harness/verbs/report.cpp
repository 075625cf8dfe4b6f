#include "harness/show/report.h"

#include <algorithm>
#include <cstdio>

#include "harness/show/rank_report.h"
#include "harness/verbs/target_options.h"
#include "harness/verbs/verb.h"
#include "results/places.h"

namespace salebench {
namespace {

class Report : public Verb {
 public:
  std::string name() const override { return "report"; }
  std::string help() const override { return "print the cells of a run as a table, or rank its methods"; }

  void add(CLI::App& app) override {
    app.add_option("run", path_, "output folder of a run, or a run.h5")->required();
    auto* const recall = app.add_option("--at-recall", target_.at_recall,
                                        "per method and problem, the fastest cell with at least this mean recall")
                             ->check(number_within(0, 1));
    auto* const rank = app.add_flag("--rank", rank_,
                                    "a row a method over all problems; by default at the target that the run was "
                                    "calibrated for");
    add_target(app, target_, rank, recall);
    app.add_option("--by", by_, "with --rank: a table for each layer, length or dataset")
        ->check(CLI::IsMember({"layer", "length", "dataset"}))
        ->needs(rank);
    app.add_flag("--interpolate", interpolate_, "with --rank: also between two settings that differ in the knob alone")
        ->needs(rank);
    app.add_flag("--strict", strict_,
                 "leave out cells whose times are in doubt: not converged, or measured on a busy machine; with --rank "
                 "they are misses");
    app.add_option("--format", format_, "table, md, csv or json")->check(CLI::IsMember({"table", "md", "csv", "json"}));
  }
  ExitCode run(const std::string&) override {
    std::vector<CellRecord> records = load_records(path_);
    if (strict_) leave_out_doubtful(records, rank_);
    if (rank_ && std::ranges::none_of(records, has_usable_times)) {
      std::fputs("nothing to rank: no cell has usable times\n", stderr);
      return kNothingMeasured;
    }
    const std::string text = rank_ ? format_rank(records, rank_options(records), format_)
                                   : format_report(records, format_, target_.at_recall);
    std::fputs(text.c_str(), stdout);
    return kAllDone;
  }

 private:
  RankOptions rank_options(const std::vector<CellRecord>& records) const {
    RankOptions options;
    options.target = target_.of(records);
    options.by = by_ == "layer"     ? RankBy::layer
                 : by_ == "length"  ? RankBy::length
                 : by_ == "dataset" ? RankBy::dataset
                                    : RankBy::run;
    options.interpolate = interpolate_;
    return options;
  }

  std::string path_, format_ = "table", by_;
  TargetOptions target_;
  bool rank_ = false, interpolate_ = false, strict_ = false;
};

SALEBENCH_VERB(Report);

}  // namespace
}  // namespace salebench
