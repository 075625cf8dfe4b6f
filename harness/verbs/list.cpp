#include "harness/show/list.h"

#include <cstdio>

#include "core/nearest.h"
#include "core/registry.h"
#include "harness/support/errors.h"
#include "harness/verbs/verb.h"
#include "results/schema.h"

namespace salebench {
namespace {

class List : public Verb {
 public:
  std::string name() const override { return "list"; }
  std::string help() const override { return "list methods with their parameters, captures, or result columns"; }

  void add(CLI::App& app) override {
    app.add_option("what", what_, "methods, datasets, columns, or a method by its name")->capture_default_str();
    app.add_option("paths", paths_, "captures to list (default: those below ./datasets)");
    app.add_option("--format", format_,
                   "table or json; for methods also md, as in docs/methods.md, or yaml: a sweep's `methods`")
        ->check(CLI::IsMember({"table", "json", "md", "yaml"}));
    app.add_flag_callback(
        "--json", [this] { format_ = "json"; }, "the same as --format json");
  }
  ExitCode run(const std::string&) override {
    std::fputs(text().c_str(), stdout);
    return kAllDone;
  }

 private:
  std::string text() const {
    if (what_ == "methods") return list_methods(format_);
    if (what_ == "datasets") return list_datasets(paths_, format_ == "json");
    if (what_ == "columns") {
      if (format_ != "table" && format_ != "md")
        throw UsageError("columns are listed as Markdown alone, as in results/README.md");
      return schema_markdown();
    }
    if (const auto method = describe_method(what_)) return *method;
    std::vector<std::string> known = {"methods", "datasets", "columns"};
    for (const MethodInfo& info : methods()) known.push_back(info.name);
    throw UsageError("there is no '" + what_ + "' to list" + did_you_mean(what_, known));
  }

  std::string what_ = "methods", format_ = "table";
  std::vector<std::string> paths_;
};

SALEBENCH_VERB(List);

}  // namespace
}  // namespace salebench
