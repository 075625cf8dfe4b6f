#include <fmt/format.h>

#include <cstdio>
#include <filesystem>

#include "core/atomic_file.h"
#include "harness/show/first_config.h"
#include "harness/verbs/verb.h"

namespace salebench {
namespace {

namespace fs = std::filesystem;

class Init : public Verb {
 public:
  std::string name() const override { return "init"; }
  std::string help() const override { return "write a commented config for captures: salebench init mine.h5"; }

  void add(CLI::App& app) override {
    app.add_option("captures", captures_, "captures to sweep")->required();
    app.add_option("-o,--out", out_, "config to write (default: the first capture's name with .yaml, here)");
    app.add_flag("--force", force_, "overwrite it");
  }

  ExitCode run(const std::string& command_line) override {
    require_utf8(command_line);
    if (out_.empty()) out_ = fs::path(captures_[0]).stem().string() + ".yaml";
    std::error_code ignored;
    for (const std::string& capture : captures_)
      if (fs::equivalent(out_, capture, ignored)) throw UsageError(out_ + " is the capture: -o names another file");
    if (fs::exists(out_, ignored) && !force_)
      throw UsageError(fmt::format("{} exists: --force overwrites it, -o names another", out_));
    const std::string text = first_config(captures_, fs::absolute(out_).parent_path());
    write_file_atomically(out_, text.data(), text.size());
    fmt::print("{}: edit it, then\n  salebench run {} --dry-run\n  salebench run {}\n", out_, out_, out_);
    return kAllDone;
  }

 private:
  std::vector<std::string> captures_;
  std::string out_;
  bool force_ = false;
};

SALEBENCH_VERB(Init);

}  // namespace
}  // namespace salebench
