#include <cstdio>

#include "datasets/truth_cache.h"
#include "harness/show/list.h"
#include "harness/verbs/verb.h"

namespace salebench {
namespace {

class Info : public Verb {
 public:
  std::string name() const override { return "info"; }
  std::string help() const override { return "show machine, program and libraries, for a bug report"; }

  void add(CLI::App& app) override { app.add_flag("--clear-cache", clear_cache_, "remove the cached truths first"); }
  ExitCode run(const std::string&) override {
    if (clear_cache_) TruthCache(TruthCache::default_folder()).clear();
    std::fputs(info_text().c_str(), stdout);
    return kAllDone;
  }

 private:
  bool clear_cache_ = false;
};

SALEBENCH_VERB(Info);

}  // namespace
}  // namespace salebench
