#include "harness/calibrate_verb.h"

namespace salebench {

void add_calibrate(CLI::App& app, CalibrateOptions& options) {
  CLI::App* verb = app.add_subcommand(
      "calibrate", "find the cheapest values that meet an error target: salebench calibrate configs/equal_error.yaml");
  verb->add_option("config", options.config, "YAML config with a section `calibrate`")->required();
  verb->add_option("-o,--out", options.out, "output folder (default runs/<name of the run>-calibration)");
  verb->add_option("--set", options.overrides, "override a config value: calibrate.target.rel_l2=0.05")
      ->allow_extra_args(false);
  verb->add_option("--only", options.only,
                   "only the methods whose label, as --dry-run shows it, is this, or else matches it as a glob");
  verb->add_flag("--dry-run", options.dry_run, "list what would be calibrated");
  verb->add_flag("--force", options.force, "write over the calibration in an existing folder");
  verb->add_flag("-q,--quiet", options.quiet, "no progress");
}

}  // namespace salebench
