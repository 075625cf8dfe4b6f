#include "harness/show/list.h"

#include <cstdio>

#include "harness/verbs/verb.h"
#include "results/schema.h"

namespace salebench {
namespace {

class List : public Verb {
 public:
  std::string name() const override { return "list"; }
  std::string help() const override { return "list methods with their parameters, captures, or result columns"; }

  void add(CLI::App& app) override {
    app.add_option("what", what_, "methods, datasets or columns")
        ->check(CLI::IsMember({"methods", "datasets", "columns"}));
    app.add_option("paths", paths_, "captures to list (default: those below ./datasets)");
    app.add_option("--format", format_,
                   "table or json; for methods also md, as in docs/methods.md, or yaml: a sweep's `methods`")
        ->check(CLI::IsMember({"table", "json", "md", "yaml"}));
    app.add_flag_callback(
        "--json", [this] { format_ = "json"; }, "the same as --format json");
  }
  ExitCode run(const std::string&) override {
    const std::string text = what_ == "methods"    ? list_methods(format_)
                             : what_ == "datasets" ? list_datasets(paths_, format_ == "json")
                                                   : schema_markdown();
    std::fputs(text.c_str(), stdout);
    return kAllDone;
  }

 private:
  std::string what_ = "methods", format_ = "table";
  std::vector<std::string> paths_;
};

SALEBENCH_VERB(List);

}  // namespace
}  // namespace salebench
