// What the page of a run shows, read from its folder or its run.h5.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "harness/run/run_folder.h"
#include "harness/run/run_state.h"
#include "results/result_files.h"

namespace salebench {

struct RunView {
  std::string title;
  std::size_t planned = 0;  ///< cells of the plan, of which those in `cells` have ended
  RunContents contents;
};

/// A run that may still go on: each look reads only the cells that ended since the last.
class RunWatch {
 public:
  /// path: a run's folder, or a run.h5. Throws UsageError.
  explicit RunWatch(const std::string& path);

  /// As it is now. Throws UsageError.
  RunView look();
  /// Whether anything has ended since the last look.
  bool has_changed() const;
  std::string title() const;

 private:
  std::string path_;
  std::unique_ptr<RunFolder> folder_;  ///< null for a run.h5
  Plan plan_;
  RunState state_;
};

}  // namespace salebench
