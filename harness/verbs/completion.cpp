#include <cstdio>

#include "harness/show/shell_completion.h"
#include "harness/verbs/verb.h"

namespace salebench {
namespace {

class Completion : public Verb {
 public:
  std::string name() const override { return "completion"; }
  std::string help() const override { return "print a shell's completion script, or the manual page"; }

  void add(CLI::App& app) override {
    app_ = app.get_parent();
    app.add_option("for", what_, "bash, zsh, fish or man: eval \"$(salebench completion bash)\"")
        ->required()
        ->check(CLI::IsMember({"bash", "zsh", "fish", "man"}));
  }

  ExitCode run(const std::string&) override {
    std::fputs((what_ == "man" ? man_page(*app_) : shell_completion(*app_, what_)).c_str(), stdout);
    return kAllDone;
  }

 private:
  CLI::App* app_ = nullptr;
  std::string what_;
};

SALEBENCH_VERB(Completion);

}  // namespace
}  // namespace salebench
