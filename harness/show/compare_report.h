// `salebench compare`: two runs, or two methods of one, as text.
#pragma once

#include <string>
#include <vector>

#include "results/compare.h"
#include "results/rank.h"

namespace salebench {

/// Formats: table, md, json. The table has the methods, then the cells that changed; all cells if asked.
std::string format_comparison(const Comparison& comparison, const CompareOptions& options, const std::string& format,
                              bool all_cells);

/// Whether a cell or method is slower, or a cell failed or has a worse result.
bool has_regressed(const Comparison& comparison);

/// "sale is 1.32 (1.28..1.36) times as fast as block_topk ..." for each setup, or JSON.
std::string format_method_ratios(const std::vector<MethodRatio>& ratios, const RankTarget& target,
                                 const std::string& first, const std::string& second, const std::string& format);

}  // namespace salebench
