#include "harness/show/check.h"

#include "core/block_mask.h"
#include "harness/verbs/verb.h"

namespace salebench {
namespace {

class Check : public Verb {
 public:
  std::string name() const override { return "check"; }
  std::string help() const override { return "validate a capture and show how sparse each of its heads can be"; }

  void add(CLI::App& app) override {
    app.add_option("capture", options_.path, "HDF5 capture")->required();
    app.add_option("--block", options_.block, "tile of the oracle density, rows x keys")
        ->check(CLI::IsMember(kBlockChoices));
    app.add_option("--length", options_.length, "only the first tokens")->check(CLI::PositiveNumber);
    app.add_flag("--json", options_.json, "as JSON");
  }
  ExitCode run(const std::string&) override {
    check_capture(options_);
    return kAllDone;
  }

 private:
  CheckOptions options_;
};

SALEBENCH_VERB(Check);

}  // namespace
}  // namespace salebench
