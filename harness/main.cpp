// The command line: verbs, options and exit codes, nothing else.
#include <fmt/format.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "core/atomic_file.h"
#include "core/block_mask.h"
#include "core/json_text.h"
#include "core/nearest.h"
#include "datasets/dataset.h"
#include "datasets/truth_cache.h"
#include "harness/calibrate_verb.h"
#include "harness/check.h"
#include "harness/errors.h"
#include "harness/import_verb.h"
#include "harness/list.h"
#include "harness/machine_load.h"
#include "harness/report.h"
#include "harness/run.h"
#include "harness/run_folder.h"
#include "harness/synth_verb.h"
#include "kernels/cpu/simd.h"
#include "results/schema.h"

namespace salebench {
namespace {

constexpr const char* kExitCodes =
    "Exit codes: 0 all done; 1 some cells failed; 2 usage or config; 4 nothing measured; 5 no device or data; "
    "6 results can't be written; 130 interrupted.";

struct Commands {
  RunOptions run;
  CalibrateOptions calibrate;
  ImportOptions import;
  SynthCommand synth;
  CheckOptions check;
  std::string what = "methods", report_path, format = "table", list_format = "table", collect_path, cell_folder,
              cell_id;
  std::vector<std::string> paths;
  double at_recall = 0;
  bool verbose = false, clear_cache = false;
};

void add_run(CLI::App& app, Commands& c) {
  CLI::App* run = app.add_subcommand("run", "run a sweep: salebench run configs/quickstart.yaml -o runs/first");
  run->add_option("config", c.run.config, "YAML config")->required();
  run->add_option("-o,--out", c.run.out, "output folder (default runs/<name of the run>)");
  run->add_option("--set", c.run.overrides,
                  "override a config value: measure.max_time=5, methods.sale.threshold=[0.001,0.002]")
      ->allow_extra_args(false);
  run->add_option("--only", c.run.only, "run only the cells whose id or label is this, or else matches it as a glob");
  run->add_option("--note", c.run.note, "text to keep with the results");
  run->add_flag("--dry-run", c.run.dry_run, "list the cells, what is skipped and why, and a time estimate");
  run->add_flag("--quick", c.run.quick, "run each cell once; times are marked unusable");
  run->add_flag("--in-process", c.run.in_process, "no worker processes, for debugging");
  CLI::Option* resume =
      run->add_flag("--resume", c.run.resume, "go on in an existing folder, keeping every finished cell");
  CLI::Option* retry =
      run->add_flag("--retry-failed", c.run.retry_failed, "as --resume, but run the failed cells again")
          ->excludes(resume);
  run->add_flag("--force", c.run.force, "run all cells again in an existing folder")->excludes(resume)->excludes(retry);
  run->add_flag("-q,--quiet", c.run.quiet, "no progress");
  run->add_flag("-v,--verbose", c.verbose, "more messages");
}

void add_others(CLI::App& app, Commands& c) {
  CLI::App* list = app.add_subcommand("list", "list methods with their parameters, captures, or result columns");
  list->add_option("what", c.what, "methods, datasets or columns")
      ->check(CLI::IsMember({"methods", "datasets", "columns"}));
  list->add_option("paths", c.paths, "captures to list (default: those below ./datasets)");
  list->add_option("--format", c.list_format, "table or json; for methods also md, as in docs/methods.md")
      ->check(CLI::IsMember({"table", "json", "md"}));
  list->add_flag_callback(
      "--json", [&c] { c.list_format = "json"; }, "the same as --format json");
  CLI::App* check = app.add_subcommand("check", "validate a capture and show how sparse each of its heads can be");
  check->add_option("capture", c.check.path, "HDF5 capture")->required();
  check->add_option("--block", c.check.block, "tile of the oracle density, rows x keys")
      ->check(CLI::IsMember(kBlockChoices));
  check->add_option("--length", c.check.length, "only the first tokens")->check(CLI::PositiveNumber);
  check->add_flag("--json", c.check.json, "as JSON");
  CLI::App* info = app.add_subcommand("info", "show machine, program and libraries, for a bug report");
  info->add_flag("--clear-cache", c.clear_cache, "remove the cached truths first");
  CLI::App* report = app.add_subcommand("report", "print the cells of a run as a table");
  report->add_option("run", c.report_path, "output folder of a run, or a run.h5")->required();
  report
      ->add_option("--at-recall", c.at_recall,
                   "per method and problem, the fastest cell with at least this mean recall")
      ->check(CLI::Range(0.0, 1.0));
  report->add_option("--format", c.format, "table, md, csv or json")
      ->check(CLI::IsMember({"table", "md", "csv", "json"}));
  app.add_subcommand("collect", "write run.h5 from the finished cells of a run")
      ->add_option("run", c.collect_path, "output folder of a run")
      ->required();
  CLI::App* cell = app.add_subcommand("cell", "what a worker process does")->group("");
  cell->add_option("folder", c.cell_folder)->required();
  cell->add_option("id", c.cell_id)->required();
}

/// Names and notes on the command line are stored in plan.json and results, which could hold others only changed.
void require_utf8(const std::string& command_line) {
  if (!is_utf8(command_line))
    throw UsageError("an argument is not UTF-8, in which results hold names and notes; rename or rewrite it");
  if (const std::string here = std::filesystem::current_path(); !is_utf8(here))
    throw UsageError("the name of the current folder is not UTF-8, in which results hold paths; run in another");
}

int dispatch(const CLI::App& app, Commands& c) {
  if (app.got_subcommand("run") || app.got_subcommand("calibrate")) require_utf8(c.run.command_line);
  if (app.got_subcommand("run")) return run_sweep(c.run);
  if (app.got_subcommand("calibrate")) return run_calibration(c.calibrate);
  if (app.got_subcommand("import")) return run_import(c.import);
  if (app.got_subcommand("cell")) return run_worker_cell(c.cell_folder, c.cell_id);
  if (app.got_subcommand("synth")) return run_synth(c.synth);
  if (app.got_subcommand("check")) {
    check_capture(c.check);
  } else if (app.got_subcommand("info")) {
    if (c.clear_cache) TruthCache(TruthCache::default_folder()).clear();
    std::fputs(info_text().c_str(), stdout);
  } else if (app.got_subcommand("list")) {
    const std::string text = c.what == "methods"    ? list_methods(c.list_format)
                             : c.what == "datasets" ? list_datasets(c.paths, c.list_format == "json")
                                                    : schema_markdown();
    std::fputs(text.c_str(), stdout);
  } else if (app.got_subcommand("report")) {
    std::fputs(format_report(load_records(c.report_path), c.format, c.at_recall).c_str(), stdout);
  } else {
    RunFolder folder(c.collect_path);
    if (!folder.exists()) throw UsageError(c.collect_path + " does not exist");
    folder.collect();
  }
  return kAllDone;
}

int complain(const std::exception& error, ExitCode code) {
  spdlog::error("{}", error.what());
  return code;
}

int guarded(const CLI::App& app, Commands& commands) {
  try {
    if (const char* simd = std::getenv("SALEBENCH_SIMD")) cpu::set_simd(simd);
    return dispatch(app, commands);
  } catch (const UsageError& error) {
    return complain(error, kUsage);
  } catch (const DataError& error) {
    return complain(error, kNoDeviceOrData);
  } catch (const NoDevice& error) {
    return complain(error, kNoDeviceOrData);
  } catch (const WriteError& error) {
    return complain(error, kCannotWrite);
  } catch (const std::invalid_argument& error) {
    return complain(error, kUsage);
  } catch (const std::exception& error) {
    return complain(error, kSomeCellsFailed);
  }
}

bool is_verb(const CLI::App& app, const std::string& word) {
  return std::ranges::any_of(app.get_subcommands([](const CLI::App*) { return true; }),
                             [&](const CLI::App* verb) { return verb->get_name() == word; });
}

int main_checked(int argc, char** argv) {
  spdlog::set_default_logger(spdlog::stderr_color_mt("salebench"));
  spdlog::set_pattern("salebench: %^%l%$: %v");
  CLI::App app("Benchmarks of sparse attention on captured Q, K and V tensors.", "salebench");
  app.footer(kExitCodes);
  app.require_subcommand(1);
  Commands commands;
  add_run(app, commands);
  add_calibrate(app, commands.calibrate);
  add_others(app, commands);
  add_import(app, commands.import);
  add_synth(app, commands.synth);
  for (int i = 0; i < argc; ++i) commands.run.command_line += (i ? " " : "") + std::string(argv[i]);
  commands.calibrate.command_line = commands.run.command_line;
  if (const std::string verb = argc > 1 ? argv[1] : "--help"; !verb.starts_with('-') && !is_verb(app, verb)) {
    const std::vector<std::string> verbs = {"run",    "calibrate", "list",   "check", "info",
                                            "report", "collect",   "import", "synth"};
    return complain(UsageError(fmt::format("unknown verb '{}'{}", verb, did_you_mean(verb, verbs))), kUsage);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kAllDone : kUsage;
  }
  if (commands.verbose) spdlog::set_level(spdlog::level::debug);
  return guarded(app, commands);
}

}  // namespace
}  // namespace salebench

int main(int argc, char** argv) {
  salebench::wait_passively(argv);
  return salebench::main_checked(argc, argv);
}
