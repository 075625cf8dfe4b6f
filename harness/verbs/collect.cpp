#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include "harness/run/merge.h"
#include "harness/run/run_state.h"
#include "harness/verbs/verb.h"

namespace salebench {
namespace {

class Collect : public Verb {
 public:
  std::string name() const override { return "collect"; }
  std::string help() const override {
    return "write run.h5 from the finished cells of a run, or bring its shards together: salebench collect "
           "runs/mine.*of3 -o runs/mine";
  }

  void add(CLI::App& app) override {
    app.add_option("runs", paths_, "output folder of a run, or of each of its shards")->required();
    auto* const out = app.add_option("-o,--out", out_, "folder for the run that the shards make");
    app.add_flag("--force", force_, "write that folder anew")->needs(out);
  }

  ExitCode run(const std::string&) override {
    for (const std::string& path : paths_)
      if (!RunFolder(path).exists()) throw UsageError(path + " does not exist");
    if (out_.empty()) return collect_one();
    const MergedShards merged = merge_shards(paths_, out_, force_);
    fmt::print("{}: {} cells of {} folders, measured on {}\n", RunFolder(out_).run_path(), merged.cells, paths_.size(),
               fmt::join(merged.machines, ", "));
    if (merged.missing > 0)
      spdlog::warn("shards {} are not there; {} cells of the sweep are missing", fmt::join(merged.absent, ", "),
                   merged.missing);
    if (merged.unfinished > 0)
      spdlog::warn("{} cells were not run to their end: salebench run CONFIG --resume -o {} does so", merged.unfinished,
                   out_);
    return merged.missing == 0 && merged.unfinished == 0 ? kAllDone : kSomeCellsFailed;
  }

 private:
  ExitCode collect_one() const {
    if (paths_.size() > 1) throw UsageError("several folders become one: -o names it");
    const RunFolder folder(paths_[0]);
    const Plan plan = folder.plan();
    const RunState state(folder, plan);
    state.collect(folder, plan, folder.attributes());
    const int unfinished = state.unfinished(plan);
    fmt::print("{}: {} cells\n", folder.run_path(), plan.cells.size());
    if (unfinished > 0) spdlog::warn("{} of them were not run to their end: --resume does so", unfinished);
    return unfinished == 0 ? kAllDone : kSomeCellsFailed;
  }

  std::vector<std::string> paths_;
  std::string out_;
  bool force_ = false;
};

SALEBENCH_VERB(Collect);

}  // namespace
}  // namespace salebench
