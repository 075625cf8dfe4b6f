// `salebench report --rank`: the methods of a run at equal quality, a row each.
#pragma once

#include <string>
#include <vector>

#include "results/rank.h"

namespace salebench {

/// "relative L2 error of every head <= 0.05"
std::string target_text(const RankTarget& target);

/// Formats: table, md, csv, json.
std::string format_rank(const std::vector<CellRecord>& records, const RankOptions& options, const std::string& format);

/// The one target that the cells were calibrated for. Throws UsageError if there is none or several.
RankTarget recalled_target(const std::vector<CellRecord>& records);

}  // namespace salebench
