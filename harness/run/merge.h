// `salebench collect A B C -o OUT`: the shards of a sweep, measured on several machines, become one run.
#pragma once

#include <string>
#include <vector>

namespace salebench {

struct MergedShards {
  int cells = 0;                    ///< of the merged run, finished or not
  int unfinished = 0;               ///< of these, without a result that some machine could give
  int missing = 0;                  ///< of the whole sweep that are in none of the folders
  std::vector<std::string> absent;  ///< the shards that are not there: "2/3"
  std::vector<std::string> machines;
};

/// Makes a run folder of those of shards: cells in the order of the whole sweep, each with the machine that measured
/// it, as one machine would have made it, so that every verb works on it. Of a cell that several have, one that is ok
/// counts, the first of these. Throws UsageError for folders of different configs or an `out` that exists (unless
/// `force`), WriteError.
MergedShards merge_shards(const std::vector<std::string>& folders, const std::string& out, bool force);

}  // namespace salebench
