#include "harness/show/report.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <optional>

#include "core/atomic_file.h"
#include "harness/page/live_server.h"
#include "harness/page/page.h"
#include "harness/show/rank_report.h"
#include "harness/support/terminal.h"
#include "harness/verbs/target_options.h"
#include "harness/verbs/verb.h"
#include "results/places.h"

namespace salebench {
namespace {

class Report : public Verb {
 public:
  std::string name() const override { return "report"; }
  std::string help() const override { return "a run as a table, a ranking of its methods, or a page to share"; }

  void add(CLI::App& app) override {
    app.add_option("run", path_, "output folder of a run, or a run.h5")->required();
    auto* const recall = app.add_option("--at-recall", target_.at_recall,
                                        "per method and problem, the fastest cell with at least this mean recall")
                             ->check(number_within(0, 1));
    auto* const rank = app.add_flag("--rank", rank_,
                                    "a row a method over all problems; by default at the target that the run was "
                                    "calibrated for");
    auto* const html =
        app.add_option("--html", html_, "write a page with ranking and plots, in one file, there")->option_text("FILE");
    auto* const live = app.add_flag("--live", live_, "serve that page on this machine, with new cells as they finish");
    app.add_option("--port", port_, "with --live: where; 0 for any that is free")
        ->capture_default_str()
        ->check(CLI::Range(0, 65535))
        ->needs(live->excludes(html));
    add_target(app, target_, nullptr, recall);
    app.add_option("--by", by_, "with --rank: a table for each layer, length or dataset")
        ->check(CLI::IsMember({"layer", "length", "dataset"}))
        ->needs(rank);
    app.add_flag("--interpolate", interpolate_, "with --rank: also between two settings that differ in the knob alone")
        ->needs(rank);
    app.add_flag("--strict", strict_,
                 "leave out cells whose times are in doubt: not converged, or measured on a busy machine; with --rank "
                 "they are misses");
    app.add_option("--method", report_.methods, "only methods of this name or glob; may come again")
        ->allow_extra_args(false)
        ->excludes(rank);
    app.add_option("--problem", report_.problems, "only problems of this name or glob; may come again")
        ->allow_extra_args(false)
        ->excludes(rank);
    app.add_option("--columns", report_.columns, "which, such as method,settings,recall,total; also those of /cells")
        ->delimiter(',')
        ->excludes(rank);
    app.add_option("--sort", report_.sort, "by this column, the best first")->excludes(rank);
    app.add_flag("--all", report_.all, "a row also for cells that did not run")->excludes(rank);
    app.add_option("--format", format_, "table, md, csv or json")->check(CLI::IsMember({"table", "md", "csv", "json"}));
  }
  ExitCode run(const std::string&) override {
    if (html_ || live_) return page();
    if (target_.is_of_rank() && !rank_)
      throw UsageError("--at-error, --each-head and --slack need --rank, --html or --live");
    std::vector<CellRecord> records = load_records(path_);
    if (strict_) leave_out_doubtful(records, rank_);
    if (rank_ && std::ranges::none_of(records, has_usable_times)) {
      std::fputs("nothing to rank: no cell has usable times\n", stderr);
      return kNothingMeasured;
    }
    const std::string text = rank_ ? format_rank(records, rank_options(records), format_, columns_of(STDOUT_FILENO))
                                   : format_report(records, report_options());
    std::fputs(text.c_str(), stdout);
    return kAllDone;
  }

 private:
  /// The page must not take the place of what it is made of.
  void require_other_file(const std::string& out) const {
    std::error_code ignored;
    for (const std::string& input : {path_, path_ + "/run.h5"})
      if (std::filesystem::equivalent(out, input, ignored))
        throw UsageError(out + " is what the page is made of: name another file");
    if (out.empty()) throw UsageError("--html needs the name of a file");
  }

  ReportOptions report_options() const {
    if ((format_ == "csv" || format_ == "json") && (!report_.columns.empty() || !report_.sort.empty()))
      throw UsageError("--columns and --sort are of tables: csv and json have all columns, in the order of the cells");
    ReportOptions options = report_;
    options.format = format_, options.at_recall = target_.at_recall;
    options.width = columns_of(STDOUT_FILENO);
    return options;
  }

  ExitCode page() {
    RunWatch watch(path_);
    const auto data_of = [&](RunView& view) {
      if (strict_) leave_out_doubtful(view.contents.cells, true);  // so that they are misses, as in --rank
      return page_data(view, page_targets(view.contents.cells), live_);
    };
    if (live_) {
      serve_page(port_, watch, data_of);
      return kAllDone;
    }
    RunView view = watch.look();
    const std::string page = page_html(view.title, data_of(view));
    require_other_file(*html_);
    write_file_atomically(*html_, page.data(), page.size());
    fmt::print(stderr, "{}: {:.1f} MB, to open in a browser{}\n", *html_, double(page.size()) / 1e6,
               page_has_plots() ? "" : "; without plots, as this build has no library: scripts/get_vega fetches it");
    return kAllDone;
  }

  /// What the page ranks by, the first at the start: as told, else what the run was calibrated for, else an error of 5
  /// %.
  std::vector<RankTarget> page_targets(const std::vector<CellRecord>& records) const {
    if (target_.at_recall > 0 || target_.at_error > 0) return {target_.of(records)};
    std::vector<RankTarget> targets = calibrated_targets(records);
    if (targets.empty()) targets = {{RankTarget::Metric::error, 0.05}};
    return targets;
  }

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
  std::optional<std::string> html_;
  TargetOptions target_;
  ReportOptions report_;
  bool rank_ = false, interpolate_ = false, strict_ = false, live_ = false;
  int port_ = 8642;
};

SALEBENCH_VERB(Report);

}  // namespace
}  // namespace salebench
