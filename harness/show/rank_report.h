// `salebench report --rank`: the methods of a run at equal quality, a row each.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "results/rank.h"

namespace salebench {

/// "relative L2 error of every head <= 0.05"
std::string target_text(const RankTarget& target);

/// What a reader of the ranking must know, a line each: what speedups are, and which cells are missing or in doubt.
std::vector<std::string> rank_notes(const std::vector<CellRecord>& records);

/// The rows as an array of objects.
nlohmann::json rank_rows_json(const std::vector<RankRow>& rows);

/// Formats: table, md, csv, json. width: that a table may have; 0 for no limit.
std::string format_rank(const std::vector<CellRecord>& records, const RankOptions& options, const std::string& format,
                        int width = 0);

/// The one target that the cells were calibrated for. Throws UsageError if there is none or several.
RankTarget recalled_target(const std::vector<CellRecord>& records);

}  // namespace salebench
