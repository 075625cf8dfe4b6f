// The page of a run: one file of HTML that needs nothing from elsewhere.
#pragma once

#include <string>
#include <vector>

#include "harness/page/run_view.h"
#include "results/rank.h"

namespace salebench {

/// What the page's script works on, as JSON: the cells by column, the figures of their heads, and the ranking at each
/// of `targets` and the usual ones, of which the reader sees the first at the start. live: the script asks for more.
std::string page_data(const RunView& view, const std::vector<RankTarget>& targets, bool live);

/// The page around such data.
std::string page_html(const std::string& title, const std::string& data);

/// Whether the plotting library is built in; without it the page has tables alone.
bool page_has_plots();

}  // namespace salebench
