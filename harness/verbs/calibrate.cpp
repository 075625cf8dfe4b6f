#include "harness/calibrate/calibrate.h"

#include "harness/verbs/verb.h"

namespace salebench {
namespace {

class Calibrate : public Verb {
 public:
  std::string name() const override { return "calibrate"; }
  std::string help() const override {
    return "find the cheapest values that meet an error target: salebench calibrate configs/equal_error.yaml";
  }

  void add(CLI::App& app) override {
    CalibrateOptions& o = options_;
    app.add_option("config", o.config, "YAML config with a section `calibrate`")->required();
    app.add_option("-o,--out", o.out, "output folder (default runs/<name of the run>-calibration)");
    app.add_option("--set", o.overrides, "override a config value: calibrate.target.rel_l2=0.05")
        ->allow_extra_args(false);
    app.add_option(
           "--only", o.choice.only,
           "only the methods whose label, as --dry-run shows it, is this, or else matches it as a glob; may come "
           "again")
        ->allow_extra_args(false);
    app.add_option("--skip", o.choice.skip, "leave out such methods; may come again")->allow_extra_args(false);
    app.add_flag("--dry-run", o.dry_run, "list what would be calibrated");
    app.add_flag("--force", o.force, "write over the calibration in an existing folder");
    app.add_flag("-q,--quiet", o.quiet, "no progress");
  }
  ExitCode run(const std::string& command_line) override {
    require_utf8(command_line);
    options_.command_line = command_line;
    return run_calibration(options_);
  }

 private:
  CalibrateOptions options_;
};

SALEBENCH_VERB(Calibrate);

}  // namespace
}  // namespace salebench
