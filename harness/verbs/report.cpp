#include "harness/show/report.h"

#include <cstdio>

#include "harness/show/rank_report.h"
#include "harness/support/errors.h"
#include "harness/verbs/verb.h"

namespace salebench {
namespace {

class Report : public Verb {
 public:
  std::string name() const override { return "report"; }
  std::string help() const override { return "print the cells of a run as a table, or rank its methods"; }

  void add(CLI::App& app) override {
    app.add_option("run", path_, "output folder of a run, or a run.h5")->required();
    auto* const recall = app.add_option("--at-recall", at_recall_,
                                        "per method and problem, the fastest cell with at least this mean recall")
                             ->check(CLI::Range(0.0, 1.0));
    auto* const rank = app.add_flag("--rank", rank_,
                                    "a row a method over all problems; by default at the target that "
                                    "the run was calibrated for");
    app.add_option("--at-error", at_error_, "with --rank: at most this relative L2 error of the output")
        ->check(CLI::PositiveNumber)
        ->needs(rank)
        ->excludes(recall);
    app.add_flag("--each-head", each_head_, "with --at-error: of every head")->needs(rank)->excludes(recall);
    app.add_option("--slack", slack_, "with --rank: errors (or 1 - recall) may be larger by this share")
        ->check(CLI::Range(0.0, 1.0))
        ->needs(rank);
    app.add_option("--by", by_, "with --rank: a table for each layer, length or dataset")
        ->check(CLI::IsMember({"layer", "length", "dataset"}))
        ->needs(rank);
    app.add_flag("--interpolate", interpolate_, "with --rank: also between two settings that differ in the knob alone")
        ->needs(rank);
    app.add_option("--format", format_, "table, md, csv or json")->check(CLI::IsMember({"table", "md", "csv", "json"}));
  }
  ExitCode run(const std::string&) override {
    const std::vector<CellRecord> records = load_records(path_);
    const std::string text =
        rank_ ? format_rank(records, rank_options(records), format_) : format_report(records, format_, at_recall_);
    std::fputs(text.c_str(), stdout);
    return kAllDone;
  }

 private:
  RankOptions rank_options(const std::vector<CellRecord>& records) const {
    RankOptions options;
    if (at_recall_ > 0)
      options.target = {RankTarget::Metric::recall, at_recall_};
    else if (at_error_ > 0)
      options.target = {RankTarget::Metric::error, at_error_, each_head_};
    else
      options.target = recalled_target(records);
    options.target.slack = slack_;
    options.by = by_ == "layer"     ? RankBy::layer
                 : by_ == "length"  ? RankBy::length
                 : by_ == "dataset" ? RankBy::dataset
                                    : RankBy::run;
    options.interpolate = interpolate_;
    return options;
  }

  std::string path_, format_ = "table", by_;
  double at_recall_ = 0, at_error_ = 0, slack_ = 0;
  bool rank_ = false, each_head_ = false, interpolate_ = false;
};

SALEBENCH_VERB(Report);

}  // namespace
}  // namespace salebench
