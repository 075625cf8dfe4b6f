#include "harness/run/run_state.h"
#include "harness/verbs/verb.h"

namespace salebench {
namespace {

class Collect : public Verb {
 public:
  std::string name() const override { return "collect"; }
  std::string help() const override { return "write run.h5 from the finished cells of a run"; }

  void add(CLI::App& app) override { app.add_option("run", path_, "output folder of a run")->required(); }
  ExitCode run(const std::string&) override {
    const RunFolder folder(path_);
    if (!folder.exists()) throw UsageError(path_ + " does not exist");
    const Plan plan = folder.plan();
    RunState(folder, plan).collect(folder, plan, folder.attributes());
    return kAllDone;
  }

 private:
  std::string path_;
};

SALEBENCH_VERB(Collect);

}  // namespace
}  // namespace salebench
