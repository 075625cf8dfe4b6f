// "Did you mean": the candidate closest to a misspelt word.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace salebench {

/// Number of insertions, deletions, replacements and swaps of neighbours that turn a into b.
int edit_distance(std::string_view a, std::string_view b);

/// " (did you mean 'threshold'?)" for the closest candidate, or " (known: a, b, c)" where none is close.
std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace salebench
