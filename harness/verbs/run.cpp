#include "harness/run/run.h"

#include <spdlog/spdlog.h>

#include "harness/verbs/verb.h"

namespace salebench {
namespace {

class Run : public Verb {
 public:
  std::string name() const override { return "run"; }
  std::string help() const override { return "run a sweep: salebench run configs/quickstart.yaml -o runs/first"; }

  void add(CLI::App& app) override {
    RunOptions& o = options_;
    app.add_option("config", o.config, "YAML config")->required();
    app.add_option("-o,--out", o.out, "output folder (default runs/<name of the run>)");
    app.add_option("--set", o.overrides,
                   "override a config value: measure.max_time=5, methods.sale.threshold=[0.001,0.002]")
        ->allow_extra_args(false);
    app.add_option("--only", o.choice.only,
                   "run only the cells whose id or label is this, or else matches it as a glob; may come again")
        ->allow_extra_args(false);
    app.add_option("--skip", o.choice.skip, "leave out such cells; may come again")->allow_extra_args(false);
    app.add_option("--shard", o.shard,
                   "run only the second of three parts: 2/3; `salebench collect` brings their folders together");
    app.add_option("--note", o.note, "text to keep with the results");
    app.add_flag("--dry-run", o.dry_run, "list the cells, what is skipped and why, and a time estimate");
    app.add_flag("--quick", o.quick, "run each cell once; times are marked unusable");
    app.add_flag("--in-process", o.in_process, "no worker processes, for debugging");
    CLI::Option* resume =
        app.add_flag("--resume", o.resume, "go on in an existing folder, keeping every finished cell");
    CLI::Option* retry =
        app.add_flag("--retry-failed", o.retry_failed, "as --resume, but run the failed cells again")->excludes(resume);
    app.add_flag("--force", o.force, "run all cells again in an existing folder")->excludes(resume)->excludes(retry);
    app.add_flag("-q,--quiet", o.quiet, "no progress");
    app.add_flag("-v,--verbose", verbose_, "more messages");
  }
  ExitCode run(const std::string& command_line) override {
    if (verbose_) spdlog::set_level(spdlog::level::debug);
    require_utf8(command_line);
    options_.command_line = command_line;
    return run_sweep(options_);
  }

 private:
  RunOptions options_;
  bool verbose_ = false;
};

/// What a worker process does.
class Cell : public Verb {
 public:
  std::string name() const override { return "cell"; }
  std::string help() const override { return {}; }
  bool is_hidden() const override { return true; }

  void add(CLI::App& app) override {
    app.add_option("folder", folder_)->required();
    app.add_option("id", id_)->required();
  }
  ExitCode run(const std::string&) override { return run_worker_cell(folder_, id_); }

 private:
  std::string folder_, id_;
};

SALEBENCH_VERB(Run);
SALEBENCH_VERB(Cell);

}  // namespace
}  // namespace salebench
