#include "harness/show/report.h"

#include <cstdio>

#include "harness/verbs/verb.h"

namespace salebench {
namespace {

class Report : public Verb {
 public:
  std::string name() const override { return "report"; }
  std::string help() const override { return "print the cells of a run as a table"; }

  void add(CLI::App& app) override {
    app.add_option("run", path_, "output folder of a run, or a run.h5")->required();
    app.add_option("--at-recall", at_recall_, "per method and problem, the fastest cell with at least this mean recall")
        ->check(CLI::Range(0.0, 1.0));
    app.add_option("--format", format_, "table, md, csv or json")->check(CLI::IsMember({"table", "md", "csv", "json"}));
  }
  ExitCode run(const std::string&) override {
    std::fputs(format_report(load_records(path_), format_, at_recall_).c_str(), stdout);
    return kAllDone;
  }

 private:
  std::string path_, format_ = "table";
  double at_recall_ = 0;
};

SALEBENCH_VERB(Report);

}  // namespace
}  // namespace salebench
